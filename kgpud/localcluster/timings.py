"""How long the kubelet takes for what it does from time to time: one place to hurry it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Timings:
    """Seconds. The defaults are a kubelet's; a fleet file's `timings` may change them."""

    first_back_off: float = 10.0
    last_back_off: float = 300.0
    """Before a container that failed starts again, or an image is pulled again: it doubles."""
    status_lag: float = 1.0
    """From what happens to the status that says so, where a kubelet writes one only in passing."""
    create_again: float = 2.0
    """Before a sandbox that did not come up is tried again."""
    disk_sweep: float = 10.0
    """Between two looks at what the pods have written."""
    memory_sample: float = 1.0
    """Between two looks at a container's memory where no cgroup limits it."""
    eviction_grace: float = 1.0
    """From TERM to KILL of a pod that is evicted."""

    def back_off(self, failures: int) -> float:
        """Return how long to wait after so many failures in a row, at least one."""
        return min(self.first_back_off * 2.0 ** min(failures - 1, 16), self.last_back_off)
