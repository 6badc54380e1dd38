"""Starting one command inside the pod, from the helper that has joined it. Helper side.

Every command leads a session of its own, as under runc. Refusals carry runc's words.
"""

import errno
import fcntl
import os
import signal
import stat
import termios
from typing import NamedTuple, NoReturn

from kgpud.localcluster import syscalls

_CHILD_FAILED = 127
_STREAMS = 3
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class SpawnError(Exception):
    """The command can't be started; the text is what runc says after `exec failed: `."""


class Started(NamedTuple):
    """A running command: its pid outside the pod, and the terminal's master if it has one."""

    pid: int
    master: int | None


def start(
    argv: list[str], env: dict[str, str], cwd: str, streams: list[int], terminals: int | None
) -> Started:
    """Start `argv` with `streams` as 0, 1, 2, or on a new terminal of the devpts `terminals`.

    Raises SpawnError with runc's words.
    """
    if not argv:
        raise SpawnError("args must not be empty")
    if terminals is None and len(streams) < _STREAMS:  # or it would have the cluster's own
        raise SpawnError(os.strerror(errno.ENFILE).lower())
    program = find(argv[0], env.get("PATH", _DEFAULT_PATH), cwd)
    if terminals is None:
        return Started(_fork(program, argv, env, cwd, streams, tty=False), None)
    master, slave = _open_terminal(terminals)
    try:
        pid = _fork(program, argv, env, cwd, [slave, slave, slave], tty=True)
    except SpawnError:
        os.close(master)
        raise
    finally:
        os.close(slave)
    return Started(pid, master)


def default_signals() -> None:
    """Undo what Python, or whoever started the cluster, ignores: children would inherit it."""
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def _open_terminal(terminals: int) -> tuple[int, int]:
    flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        master = os.open("ptmx", flags | os.O_NONBLOCK, dir_fd=terminals)
    except OSError as error:
        raise SpawnError(f"unable to start container process: open ptmx: {error}") from None
    fcntl.ioctl(master, syscalls.TIOCSPTLCK, b"\0\0\0\0")
    return master, fcntl.ioctl(master, syscalls.TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)


def find(name: str, path: str, cwd: str) -> str:
    """Return the file that `name` means in the pod, as Go's LookPath finds it; SpawnError."""
    refused = f'unable to start container process: exec: "{name}": '
    if "/" in name:
        return _check(name, cwd, refused)
    for folder in path.split(":"):
        candidate = os.path.join(cwd, folder or ".", name)  # noqa: PTH118  (plain strings: speed)
        try:
            mode = os.stat(candidate).st_mode  # noqa: PTH116
        except (OSError, ValueError):
            continue
        if name and not stat.S_ISDIR(mode) and mode & 0o111:
            return candidate
    raise SpawnError(refused + "executable file not found in $PATH")


def _check(name: str, cwd: str, refused: str) -> str:
    candidate = os.path.join(cwd, name)  # noqa: PTH118
    try:
        mode = os.stat(candidate).st_mode  # noqa: PTH116
    except ValueError:
        raise SpawnError(refused + "invalid argument") from None
    except OSError as error:
        words = os.strerror(error.errno or errno.ENOENT).lower()
        raise SpawnError(f"{refused}stat {name}: {words}") from None
    if stat.S_ISDIR(mode):
        raise SpawnError(refused + "is a directory")
    if not mode & 0o111:
        raise SpawnError(refused + "permission denied")
    return candidate


def _fork(
    program: str, argv: list[str], env: dict[str, str], cwd: str, streams: list[int], *, tty: bool
) -> int:
    report, tell = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _become(program, argv, env, cwd, streams, tell, tty=tty)
    os.close(tell)
    with os.fdopen(report, "rb") as reading:
        trouble = reading.read().decode(errors="replace")
    if trouble:
        os.waitpid(pid, 0)
        raise SpawnError(f"unable to start container process: {trouble}")
    return pid


def _become(
    program: str,
    argv: list[str],
    env: dict[str, str],
    cwd: str,
    streams: list[int],
    tell: int,
    *,
    tty: bool,
) -> NoReturn:
    """Turn the forked child into the command; runs no other code of the helper's."""
    try:
        os.setsid()
        if tty:
            fcntl.ioctl(streams[0], termios.TIOCSCTTY, 0)
        for number, fd in enumerate(streams):
            os.dup2(fd, number, inheritable=True)
        default_signals()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        doing = f'chdir to cwd ("{cwd}") set in config.json failed'
        os.chdir(cwd)
        doing = f"exec {program}"
        os.execve(program, argv, env)  # noqa: S606  (no shell is wanted)
    except OSError as error:
        words = os.strerror(error.errno or 0).lower()
        os.write(tell, f"{doing}: {words}".encode(errors="replace")[:4096])
    except BaseException as error:  # noqa: BLE001  (a child must never return into the helper)
        os.write(tell, repr(error).encode(errors="replace")[:4096])
    os._exit(_CHILD_FAILED)
