"""What a look into a pod means: read from what a shell there wrote, whatever that is."""

import subprocess
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgpud import busy

_SELF, _OWN_SESSION = 900, 900
_LOOK = 5.0

names = st.binary(max_size=15).filter(lambda name: b"\0" not in name and b"\n" not in name)


def stat(pid: int, session: int, ticks: int, *, begun: int = 7, name: bytes = b"sh") -> bytes:
    """Return a line of /proc/PID/stat; the ticks are in its cutime."""
    before = b" ".join([b"1", b"1", b"%d" % session, b"0", b"-1", b"0", *[b"0"] * 4])
    return b"%d (%s) S %s 0 0 %d 0 20 0 1 0 %d 0 0" % (pid, name, before, ticks, begun)


def answer(*looks: Sequence[bytes], end: bytes = b"end\n") -> bytes:
    text = b"self %d\n" % _SELF
    for number, lines in enumerate(looks):
        own = stat(_SELF, _OWN_SESSION, 1000 * number)
        text += b"\n".join([b"up %.2f" % (100 + _LOOK * number), own, *lines, b""])
    return text + end


@given(st.binary(max_size=400), st.integers(0, 4))
def test_nothing_is_read_into_noise(noise: bytes, gpus: int) -> None:
    assert busy.is_busy(noise, gpus=gpus) is None


@given(names, st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 8))
def test_a_process_above_a_tenth_of_a_core_is_busy(
    name: bytes, before: int, took: int, gpus: int
) -> None:
    looks = [[stat(41, 41, ticks, name=name)] for ticks in (before, before + took)]
    found = busy.is_busy(answer(*looks), gpus=gpus)
    assert found is (took > busy.CPU_PERCENT / 100 * _LOOK * 100)


@given(st.integers(0, 100), st.integers(0, 100))
def test_a_gpu_above_five_percent_is_busy(first: int, second: int) -> None:
    said = answer([b"gpu 0 %d" % first], [b"gpu %d 0" % second])
    assert busy.is_busy(said, gpus=2) is (max(first, second) > busy.GPU_PERCENT)


@given(st.lists(st.sampled_from([b"gpu 0", stat(5, 5, 0), b"", b"x", b"up 1", b"gpu unknown"])))
def test_half_an_answer_says_nothing(lines: list[bytes]) -> None:
    whole = answer(lines, [])
    for cut in range(0, len(whole) - 1, 7):
        assert busy.is_busy(whole[:cut], gpus=1) is None


@pytest.mark.parametrize(
    "line",
    [
        b"9" * 5000 + stat(41, 41, 0),
        stat(41, 41, 0).replace(b" 20 ", b" %s " % (b"9" * 5000)),
        stat(41, 41, 0) + b" 1" * 2_000_000,
        b"gpu " + b"9 " * 2_000_000,
        b"gpu " + b"9" * 2_000_000,
    ],
    ids=["pid", "number", "numbers", "GPUs", "GPU"],
)
def test_whatever_a_pod_makes_up_is_read_or_left(line: bytes) -> None:
    assert busy.is_busy(answer([line], [line]), gpus=0) is False


def test_who_began_in_between_took_all_of_its_time_there() -> None:
    assert busy.is_busy(answer([], [stat(41, 41, 60)]), gpus=0) is True
    # The same number, another process.
    reused = answer([stat(41, 41, 5000)], [stat(41, 41, 20, begun=8)])
    assert busy.is_busy(reused, gpus=0) is False


def test_the_look_itself_is_no_work() -> None:
    own = answer([], [stat(901, _OWN_SESSION, 400, name=b"nvidia-smi")])
    assert busy.is_busy(own, gpus=0) is False


@pytest.mark.parametrize("said", [b"gpu unknown", b"gpu [N/A]", b"gpu"])
def test_a_gpu_that_cannot_be_asked_is_no_idle_one(said: bytes) -> None:
    assert busy.is_busy(answer([said], [said]), gpus=1) is None
    # In a pod without a GPU an nvidia-smi that fails is as it should be.
    assert busy.is_busy(answer([said], [said]), gpus=0) is False


# Under a name that looks like the end of one, in two lines.
_HIDES = r"""
import ctypes
ctypes.CDLL(None).prctl(15, b"a\nb) S 1")
print(flush=True)
while True: pass
"""


def test_every_shell_can_look() -> None:
    """Here the whole machine is looked at: a loop beside it is seen, and the answer is whole."""
    shells = [["sh"], ["busybox", "sh"], ["bash", "--posix"]]
    with subprocess.Popen([sys.executable, "-c", _HIDES], stdout=subprocess.PIPE) as loop:
        assert loop.stdout is not None
        loop.stdout.readline()
        looks = [
            subprocess.Popen(
                [*shell, *busy.command(1)[1:]],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            for shell in shells
        ]
        said = [look.communicate(timeout=60) for look in looks]
        loop.kill()
    for look, (out, err) in zip(looks, said, strict=True):
        assert (look.returncode, err) == (0, b"")
        assert out.endswith(b"\nend\n")
        assert out.count(b"\n%d (a b) S 1) R " % loop.pid) == 2
        assert busy.is_busy(out, gpus=0) is True
