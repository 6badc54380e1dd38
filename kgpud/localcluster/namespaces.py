"""Joining a pod's namespaces from outside its PID namespace. Helper side."""

import fcntl
import os
import socket
import sys
import time
from pathlib import Path

from kgpud.localcluster import syscalls

MARKER = ".pod"
SET_UP_WITHIN_SECONDS = 20.0
_POLL_SECONDS = 0.0005


class JoinError(Exception):
    """The sandbox did not come up in time, or the kernel would not let us in."""


def join(child: int, ip: str, reach: list[tuple[str, int]]) -> list[socket.socket]:
    """Move this process into the namespaces of `child`, a sandbox about to run its PID 1.

    Afterwards this process is uid 0 of the pod's user namespace and sees its files and
    network, which gets the address `ip`; processes that it forks are in its PID namespace.
    Returns a listener in the pod's network for each numeric address of `reach`. JoinError when
    it can't be.
    """
    mount, owner = _wait_until_set_up(child)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    user = os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    others = [
        os.open(f"/proc/{child}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
        for name in ("ipc", "uts", "net", "pid")
    ]
    cgroup = _open_if_there(f"/proc/{child}/ns/cgroup")
    syscalls.setns(owner)
    if cgroup is not None:
        _join_cgroup(cgroup)
    for fd in others:
        syscalls.setns(fd)
    # Only the outer user namespace owns the network, so this can't wait until we are inside.
    syscalls.add_loopback_address(ip, 0)
    opened = _listeners(reach)
    for fd in (mount, user):
        syscalls.setns(fd)
    for fd in (owner, *others, mount, user):
        os.close(fd)
    _become_root_of_the_pod()
    return opened


def _join_cgroup(fd: int) -> None:
    try:
        syscalls.setns(fd)
    except OSError:
        pass  # bwrap only tries for it, so there may be none of the pod's own.
    finally:
        os.close(fd)


def _become_root_of_the_pod() -> None:
    sys.meta_path.clear()  # what would be imported from here on, the pod may have written
    os.chdir("/")
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    syscalls.drop_capabilities()
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    syscalls.install_filter(syscalls.chown_filter())
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)


def _wait_until_set_up(child: int) -> tuple[int, int]:
    """Return the sandbox's mount namespace and its owner's user namespace, once final.

    Before the pivot we would join the host's root; before the nested user namespace has
    its maps, setresuid would fail.
    """
    deadline = time.monotonic() + SET_UP_WITHIN_SECONDS
    while time.monotonic() < deadline:
        if Path(f"/proc/{child}/root/{MARKER}").is_dir():
            mount = os.open(f"/proc/{child}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            owner = fcntl.ioctl(mount, syscalls.NS_GET_USERNS)
            if _has_nested_user_namespace(child, owner):
                return mount, owner
            os.close(mount)
            os.close(owner)
        elif not Path(f"/proc/{child}").exists():
            raise JoinError("the sandbox ended while it was being set up")
        time.sleep(_POLL_SECONDS)
    raise JoinError(f"the sandbox was not set up within {SET_UP_WITHIN_SECONDS:.0f} s")


def _has_nested_user_namespace(child: int, owner: int) -> bool:
    nested = Path(f"/proc/{child}/ns/user").stat().st_ino != os.fstat(owner).st_ino
    maps = ("uid_map", "gid_map")
    return nested and all(Path(f"/proc/{child}/{name}").read_bytes() for name in maps)


def _open_if_there(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _listeners(addresses: list[tuple[str, int]]) -> list[socket.socket]:
    opened = []
    for alias, (host, port) in enumerate(addresses, 1):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        if family == socket.AF_INET and not host.startswith("127."):
            syscalls.add_loopback_address(host, alias)
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(64)
        listener.setblocking(False)
        opened.append(listener)
    return opened
