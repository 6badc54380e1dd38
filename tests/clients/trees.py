"""Trees of what breaks naive tools, and what there is to compare of them."""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

OLD = 1_000_000_000
NEWLINE, NOT_TEXT = b"\n", b"\xff"
_NAMES = (
    b"-rf",
    b"new\nline",
    b"bytes \xff\x81\x88",
    b"' \" $HOME `x` * ? [a] \\n",
    b"a b",
    b"#",
    b"~",
    b"..." + b"x" * 240,
)
_MODES = (0o600, 0o755, 0o644, 0o400, 0o777, 0o640, 0o711, 0o750)


def odd_tree(top: Path, *, without: tuple[bytes, ...] = (), links: bool = False) -> Path:
    """Make a tree of odd names, modes, times and sizes: sparse, empty, big, closed to its owner.

    Names that hold one of `without` are left out: not every client has them.
    """
    deep = top / "deep"
    (deep / "er" / "empty folder").mkdir(parents=True)
    for at, name in enumerate(_NAMES):
        if not any(part in name for part in without):
            _write(deep, name, bytes([at]) * (at * 20_000), _MODES[at], OLD + at)
    _write(deep, b"big", os.urandom(1_000_001), 0o644, OLD)
    _write(top, b"empty", b"", 0o644, OLD)
    with (top / "sparse").open("wb") as hole:
        hole.seek(2_000_000)
        hole.write(b"end")
    os.utime(top / "sparse", (OLD, OLD))
    if os.geteuid() == 0:  # anybody else's client could not read it
        _write(top, b"closed", b"secret", 0, OLD)
    for n in range(6):
        _write(deep / "er", b"%d" % n, os.urandom(n), 0o644, OLD)
    if links:
        (top / "link").symlink_to("deep/big")
        (top / "folder link").symlink_to("deep/er")
        (deep / "dangling").symlink_to("no where/at all")
        os.link(top / "empty", top / "same")
    return top


def _write(folder: Path, name: bytes, content: bytes, mode: int, when: int) -> None:
    path = Path(os.fsdecode(os.path.join(os.fsencode(folder), name)))
    path.write_bytes(content)
    path.chmod(mode)
    os.utime(path, (when, when))


def _walked(top: Path) -> Iterator[tuple[str, Path]]:
    for where, folders, files in os.walk(top):
        for name in (*folders, *files):
            path = Path(where) / name
            yield str(path.relative_to(top)), path


def contents(top: Path) -> dict[str, str | None]:
    """What every client moves: names, and what the files hold (None: a folder)."""
    found: dict[str, str | None] = {}
    for name, path in _walked(top):
        if path.is_symlink():
            found[name] = "-> " + os.readlink(path)
        else:
            found[name] = _digest(path) if path.is_file() else None
    return found


def listed(top: Path) -> dict[str, tuple[object, ...]]:
    """The same with modes, and the files' times."""
    held = contents(top)
    found: dict[str, tuple[object, ...]] = {}
    for name, path in _walked(top):
        about = path.lstat()
        when = int(about.st_mtime) if stat.S_ISREG(about.st_mode) else None
        found[name] = (stat.filemode(about.st_mode), when, held[name])
    return found


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
