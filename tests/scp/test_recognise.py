"""Which command lines are the engine's: whatever it takes, the pod's shell reads as its scp's."""

import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.scp import SCRIPT, recognise

_TELL = r"""printf '%s\n' "$#" "$@" """
_REAL = "scp() { while :; do case $1 in --) shift; break ;; -*) shift ;; *) break ;; esac; done; "
_REAL += _TELL + "; }; "

words = st.text(st.sampled_from("abx/.*?[]~=%@: \t\n'\"\\;|&<>()$`#!{}^-,"), max_size=12).map(
    str.encode
)
heads = st.sampled_from([b"scp -t ", b"scp -r -p -f -- ", b" scp  -rdpt -- ", b"scp -f a\\ b "])


@given(st.binary(max_size=200))
def test_garbage(command: bytes) -> None:
    recognise(command)
    recognise(b"scp -t " + command)


@settings(max_examples=60, deadline=None)
@given(heads, words)
def test_the_shell_reads_the_same_words(head: bytes, rest: bytes) -> None:
    asked = recognise(head + rest)
    if asked is None:
        return
    for shell in ("dash", "bash"):
        environment = {"PATH": "/bin:/usr/bin", "LC_ALL": "C", SCRIPT: _TELL}
        ours = _said(shell, asked.text(), environment)
        theirs = _said(shell, _REAL.encode() + head + rest, environment)
        assert ours == theirs
        assert not ours[1]


def _said(shell: str, command: bytes, environment: dict[str, str]) -> tuple[bytes, bytes]:
    done = subprocess.run([shell, "-c", command], capture_output=True, env=environment, cwd="/sys")
    return done.stdout, done.stderr
