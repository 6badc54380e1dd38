"""What holds one run of a container to its limits of memory and CPU, and tells if it did."""

from collections.abc import Mapping
from typing import Any

from kgpud.localcluster import quantity
from kgpud.localcluster.cgroups import Group, Limits
from kgpud.localcluster.host import Host
from kgpud.localcluster.memory import Sampler


def of(container: Mapping[str, Any]) -> Limits:
    """Return the limits that a container's spec sets."""
    limits = (container.get("resources") or {}).get("limits") or {}
    memory, cpu = limits.get("memory"), limits.get("cpu")
    return Limits(
        None if memory is None else quantity.whole(memory),
        None if cpu is None else quantity.thousandths(cpu),
    )


class Held:
    """The limits on one run: by a cgroup where there can be one, else by a look now and then."""

    def __init__(self, host: Host, name: str, container: Mapping[str, Any]) -> None:
        self._host = host
        self._name = name
        self._limits = of(container)
        self._group: Group | None = None
        self._ran_out = False
        self.sampler: Sampler | None = None

    def enter(self, helper: int) -> None:
        """Hold the helper and all that it will start. Blocking; OSError when it can't be."""
        if self._limits == Limits():
            return
        if self._host.groups is not None:
            self._group = self._host.groups.make(self._name, self._limits)
            self._group.enter(helper)
        elif self._limits.memory_bytes is not None:
            every = self._host.timings.memory_sample
            self.sampler = Sampler(helper, self._limits.memory_bytes, every)

    def release(self) -> bool:
        """Let go once everything has ended; return whether memory ran out. Blocking."""
        if self._group is not None:
            self._ran_out = self._ran_out or self._group.oom_kills() > 0
            self._group.remove()
            self._group = None
        return self._ran_out or (self.sampler is not None and self.sampler.kills > 0)
