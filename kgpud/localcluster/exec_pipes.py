"""The pipes of a command without a terminal."""

import contextlib
import fcntl
import os
from typing import Self

SMALL_PIPE = 64 * 1024  # what Linux gives (pipe(7)), and a container runtime
_LARGE_PIPE = 1024 * 1024


def widen(fd: int) -> None:
    """Have a pipe hold more, once it was found full: its two ends wait less for each other.

    Linux lets a user have so many large ones only (pipe-user-pages-soft), so none is large from
    its beginning. Where there can't be one, or on a terminal, everything works as well.
    """
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _LARGE_PIPE)


class Pipes:
    """A command's standard streams: `theirs` are its three ends, the others are ours.

    Ours don't block, and are None where the client did not ask for the stream: there the command
    has /dev/null. Leaving the with-statement closes what has not been closed or taken. They belong
    to the user `owner`, None for ours, so that the command may open /dev/stderr, as under runc.
    """

    def __init__(self, *, stdin: bool, stdout: bool, stderr: bool, owner: int | None) -> None:
        self._owner = owner
        self.theirs: list[int] = []
        self._ours: list[int] = []
        try:
            self._stdin = self._open(stdin, writes=True)
            self.stdout = self._open(stdout)
            self.stderr = self._open(stderr)
        except OSError:
            self._close()
            raise

    def _open(self, wanted: bool, *, writes: bool = False) -> int | None:
        if not wanted:
            self.theirs.append(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC))
            return None
        reading, writing = os.pipe2(os.O_CLOEXEC)
        theirs, ours = (reading, writing) if writes else (writing, reading)
        self.theirs.append(theirs)
        self._ours.append(ours)
        os.set_blocking(ours, False)
        if self._owner is not None:
            os.fchown(theirs, self._owner, self._owner)
        return ours

    def close_theirs(self) -> None:
        """Close the command's ends, which it has by now."""
        _close_all(self.theirs)

    def take_stdin(self) -> int | None:
        """Return our end of stdin, which is the caller's to close from here on."""
        if self._stdin is not None:
            self._ours.remove(self._stdin)
        return self._stdin

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_args: object) -> None:
        self._close()

    def _close(self) -> None:
        _close_all(self.theirs)
        _close_all(self._ours)


def _close_all(fds: list[int]) -> None:
    while fds:
        with contextlib.suppress(OSError):
            os.close(fds.pop())
