"""Whether anything works in a pod: what to run in it, and what its answer means. Pure.

The answer is two looks, some seconds apart: an uptime, the lines of ``/proc/PID/stat`` (proc(5)),
and each GPU's utilisation, which is an average over its last sample period already. Whoever made
the image can have anything said instead.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import resources

GPU_PERCENT = 5.0
CPU_PERCENT = 10.0

# Linux counts in ticks of 1/100 s towards programs (USER_HZ), on every architecture there is.
_TICKS_A_SECOND = 100
# After the name, which may hold anything: the state, then numbers. proc(5), from field 3 on.
_STAT = re.compile(rb"(\d{1,10}) \(.*\) \S((?: -?\d{1,20}){19,})\s*", re.DOTALL)
# Four times what the kernel writes in one; Python itself refuses numbers of 4,300 digits.
_LONGEST_LINE = 4096
_SESSION, _TIMES, _BEGUN = 6 - 4, slice(14 - 4, 18 - 4), 22 - 4


def command(seconds: int) -> list[str]:
    """Return the argv that looks into a pod for so many seconds."""
    script = resources.files(__package__).joinpath("busy.sh").read_text()
    return ["sh", "-c", script, "sh", str(seconds)]


@dataclass
class _Look:
    """What one look saw: each process's session and CPU time in ticks, by pid and beginning."""

    uptime: float
    ticks: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    gpus: list[float] = field(default_factory=list)
    blind: bool = False


def is_busy(answer: bytes, *, gpus: int) -> bool | None:
    """Tell whether a GPU is above 5 % or a process above 10 % of one core; None if unknown.

    `gpus` is how many the pod has: in one without any, an nvidia-smi that fails says nothing. A
    process counts with its children that ended. What looks is not counted itself.
    """
    own, looks, whole = _read(answer)
    if any(use > GPU_PERCENT for look in looks for use in look.gpus):
        return True
    if not whole or own is None or len(looks) != 2:  # noqa: PLR2004 - before and after
        return None
    before, after = looks
    took = after.uptime - before.uptime
    ours = after.ticks.get(own)
    if took <= 0 or ours is None:
        return None
    limit = CPU_PERCENT / 100 * took * _TICKS_A_SECOND
    if any(used > limit for used in _used(before, after, besides=ours[0])):
        return True
    return None if gpus and (before.blind or after.blind) else False


def _used(before: _Look, after: _Look, *, besides: int) -> Iterator[int]:
    """Yield the ticks that each process took between two looks, other than session `besides`."""
    for process, (session, ticks) in after.ticks.items():
        if session != besides:
            # One that is new began in between: all of its time is of that time.
            yield ticks - before.ticks.get(process, (session, 0))[1]


def _read(answer: bytes) -> tuple[tuple[int, int] | None, list[_Look], bool]:
    own: int | None = None
    looks: list[_Look] = []
    word, _, rest = answer.partition(b"\n")
    if found := re.fullmatch(rb"self (\d{1,10})", word):
        own = int(found[1])
    for line in _lines(rest):
        if found := re.fullmatch(rb"up (\d{1,12}(?:\.\d{1,4})?)", line):
            looks.append(_Look(float(found[1])))
        elif looks:
            _take(line, looks[-1])
    key = next((key for look in looks[1:2] for key in look.ticks if key[0] == own), None)
    return key, looks, answer.endswith(b"\nend\n")


def _lines(text: bytes) -> list[bytes]:
    return [line for line in text.split(b"\n") if len(line) <= _LONGEST_LINE]


def _take(line: bytes, look: _Look) -> None:
    if line.partition(b" ")[0] == b"gpu":
        shown = [re.fullmatch(rb"\d{1,3}(?:\.\d{1,4})?", word) for word in line.split()[1:]]
        look.gpus += [float(found[0]) for found in shown if found]
        look.blind |= not any(shown)
    elif found := _STAT.fullmatch(line):
        numbers = [int(number) for number in found[2].split()[:19]]
        process = int(found[1]), numbers[_BEGUN]
        look.ticks[process] = numbers[_SESSION], sum(numbers[_TIMES])
