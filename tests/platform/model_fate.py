"""What becomes of the model's pods in the cluster, and when each container really ran."""

from dataclasses import dataclass
from random import Random

from tests.platform.fake_api import Object, stamp
from tests.platform.model_house import House

#: The container's last state, and what the pod's status says beside it.
Ending = tuple[Object, Object]
_EXITED: Ending = ({"exitCode": 3, "reason": "Error"}, {})
_OOM: Ending = ({"exitCode": 137, "reason": "OOMKilled"}, {})
_DISK: Ending = (
    {"exitCode": 137, "reason": "Error"},
    {"reason": "Evicted", "message": "Pod ephemeral local storage usage exceeds the limit"},
)
_PRESSURE: Ending = (
    {"exitCode": 137, "reason": "Error"},
    {"reason": "Evicted", "message": "The node was low on resource: memory."},
)


@dataclass
class Ran:
    """When a container ran, in milliseconds that passed; `until` is None while it does.

    `untold` says that its pod went while nobody looked, or that the store forgot what it was told:
    nobody will ever know when it ended, so who releases it before that is noticed pays until the
    release.
    """

    since: int
    until: int | None = None
    untold: bool = False

    def minutes(self, now: int) -> int:
        """Return how many minutes began until it ended, or until now."""
        return len(range(self.since, (now if self.until is None else self.until) + 1, 60_000))


class Fate:
    """The cluster's part. `ran` is by pod."""

    def __init__(self, house: House, random: Random) -> None:
        self.ran: dict[str, Ran] = {}
        self._house = house
        self._random = random

    def pods(self, phase: str) -> list[str]:
        """Return the names of pods in a phase that nobody has deleted."""
        return [name for name, pod in self._house.api.pods.items() if _is(pod, phase)]

    def start(self) -> None:
        """Let every pod that can run do so."""
        for name in self.pods("Pending"):
            if "nodeName" not in self._house.api.pods[name]["spec"]:
                continue
            self._house.api.run(name, self._house.clock.now_ms())
            self.ran[name] = Ran(self._house.passed)

    def end(self) -> None:
        """Let a container end by itself, or by the kubelet's will."""
        if not (names := self.pods("Running")):
            return
        name = self._random.choice(names)
        pod = self._house.api.pods[name]
        terminated, status = self._random.choice((_EXITED, _OOM, _DISK, _PRESSURE))
        state = pod["status"]["containerStatuses"][0]["state"]["running"]
        times = {**state, "finishedAt": stamp(self._house.clock.now_ms())}
        container = {"name": "main", "state": {"terminated": {**terminated, **times}}}
        pod["status"] = {"phase": "Failed", "containerStatuses": [container], **status}
        self._house.api.apply("pods", "MODIFIED", pod)
        self.stop(name)

    def vanish(self) -> None:
        """Let pods that are being deleted be gone, and now and then one that nobody deleted."""
        odds = 0.2 if self._house.sees else 0.5
        for name, pod in list(self._house.api.pods.items()):
            if "deletionTimestamp" in pod["metadata"] or self._random.random() < odds:
                self._house.api.remove(name)
                self.stop(name)
                if name in self.ran and not self._house.sees:
                    self.ran[name].untold = True

    def lose(self) -> None:
        """Let the cluster be away, or come back, or forget what the watches have seen."""
        if self._house.api.down:
            self._house.api.down = False
        elif self._random.random() < 0.5:
            self._house.api.stop()
        else:
            self._house.api.expire()

    def stop(self, name: str, at: int | None = None) -> None:
        """Note that a container's time is over, if it ran."""
        ran = self.ran.get(name)
        if ran is not None and ran.until is None:
            ran.until = self._house.passed if at is None else at

    def forget_since(self, moment: int) -> None:
        """Note that the store does not know any more what it was told since then.

        What was released and not deleted yet runs on.
        """
        running = self.pods("Running")
        for name, ran in self.ran.items():
            if ran.until is not None and ran.until >= moment:
                ran.untold = name not in running
                ran.until = ran.until if ran.untold else None
            # When it ended may have been told since then, and can't be told again.
            ran.untold |= name not in self._house.api.pods


def _is(pod: Object, phase: str) -> bool:
    return pod["status"]["phase"] == phase and "deletionTimestamp" not in pod["metadata"]
