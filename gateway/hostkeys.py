"""The bastion's host keys: files, made once, followed while it runs, rotated in two steps.

One key serves. A rotation first makes a successor, which is only announced: clients with
``UpdateHostKeys yes`` prove and learn it (OpenSSH's PROTOCOL, 2.5, hostkeys-00@openssh.com) while
the old one still serves. Then the successor takes its place. Whoever connected in between never
meets a key that is not in their known_hosts.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
import structlog

log = structlog.get_logger()

_DEFAULT_PORT = 22


class HostKeyDamaged(ValueError):
    """A host key's file holds something else. The text says which."""


class HostKeyRefused(Exception):
    """A step of a rotation that can't be taken now. The text says why."""


@dataclass(frozen=True)
class HostKey:
    """A host key. `line` is ``type base64``; `fingerprint` is as ``ssh-keygen -l`` prints it."""

    line: str
    fingerprint: str
    private: asyncssh.SSHKey = field(repr=False, compare=False)

    @property
    def key_type(self) -> str:
        """The key's type, e.g. ``ssh-ed25519``."""
        return self.line.partition(" ")[0]

    def known_hosts(self, host: str, port: int) -> str:
        """Return the line of known_hosts that trusts this key (sshd(8), known_hosts format)."""
        name = host if port == _DEFAULT_PORT else f"[{host}]:{port}"
        return f"{name} {self.line}"


class HostKeys:
    """The key at `path`, made (0600) if it is missing, and its successor at ``path.next``, if any.

    Another process may rotate them at any time: `current` looks at the files again. Raises
    HostKeyDamaged, OSError.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            _make(path)
        self._files = (path, successor(path))
        self._seen = self._stamp()
        self._keys = read(path)

    def current(self) -> Sequence[HostKey]:
        """Return the key that serves, then the one that is only announced, if there is one."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            try:
                self._keys = read(self._files[0])
            except (OSError, HostKeyDamaged) as error:
                # Whoever is connected, and will be, is better off with the keys of before.
                log.error("host_keys.unreadable", error=str(error))  # noqa: TRY400 - no traceback
            else:
                log.info("host_keys.changed", keys=[key.fingerprint for key in self._keys])
        return self._keys

    def _stamp(self) -> Sequence[object]:
        return [_identity(path) for path in self._files]


def successor(path: Path) -> Path:
    """Return where the successor of the key at `path` stands."""
    return path.with_name(f"{path.name}.next")


def read(path: Path) -> Sequence[HostKey]:
    """Read the key at `path` and its successor, if any. Raises OSError or KeyImportError."""
    keys = [_read(path)]
    if successor(path).exists():
        keys.append(_read(successor(path)))
    return keys


def announce(path: Path) -> HostKey:
    """Make a successor, which clients learn from now on. Raises HostKeyRefused if there is one."""
    try:
        _make(successor(path))
    except FileExistsError:
        raise HostKeyRefused("a successor is announced already") from None
    return _read(successor(path))


def switch(path: Path) -> HostKey:
    """Let the successor serve; the old key is gone. Raises HostKeyRefused if there is none."""
    try:
        successor(path).replace(path)
    except FileNotFoundError:
        raise HostKeyRefused("there is no successor; announce one first") from None
    _sync(path.parent)
    return _read(path)


def _read(path: Path) -> HostKey:
    try:
        key = asyncssh.read_private_key(path)
    except asyncssh.KeyImportError as error:
        raise HostKeyDamaged(f"{path}: {error}") from None
    public = key.export_public_key("openssh").decode().split()
    return HostKey(" ".join(public[:2]), key.get_fingerprint(), key)


def _make(path: Path) -> None:
    """Make an ed25519 key, whole or not at all. Raises FileExistsError."""
    data = asyncssh.generate_private_key("ssh-ed25519").export_private_key("openssh")
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(unfinished, flags, 0o600), "wb") as file:
        if os.geteuid() == 0:
            # An operator's root must not leave what the daemon's user can't read.
            owner = path.parent.stat()
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    try:
        # Not a rename: a key that somebody made meanwhile must not be lost.
        os.link(unfinished, path)
    finally:
        unfinished.unlink()
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _identity(path: Path) -> object:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
