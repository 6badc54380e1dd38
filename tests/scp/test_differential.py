"""The same operations against scp's own server side and against the engine: no difference.

Compared are the client's words and exit code, and of every file there its kind, mode, links,
contents, whether it is still the same inode, and with -p its times.
"""

import os
import stat
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .conftest import Both, Server

OLD = 1_000_000_000


def make(top: Path, **files: str | int | None) -> None:
    """Make files: a text, a mode of a folder, or None for an empty file. `__` is a slash."""
    for name, what in files.items():
        path = top / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(what, int):
            path.mkdir(exist_ok=True)
            path.chmod(what)
        else:
            path.write_text(what or "")


def tree(top: Path) -> None:
    make(top, src__x="one", src__sub__y="two", src__sub__deep__z="three", src__empty=None)
    make(top, src__hollow=0o755, src__private=0o700, src__private__key="secret")
    (top / "src/x").chmod(0o755)
    (top / "src/private/key").chmod(0o600)
    (top / "src/readonly").write_text("ro")
    (top / "src/readonly").chmod(0o444)
    (top / "src/setuid").write_text("s")
    (top / "src/setuid").chmod(0o4755)
    (top / "src/none").write_text("0")
    (top / "src/none").chmod(0)
    (top / "src/big").write_bytes(b"big" * 300_001)
    os.truncate(top / "src/big", 1_700_001)
    (top / "src/to-file").symlink_to("x")
    (top / "src/to-dir").symlink_to("sub")
    os.link(top / "src/x", top / "src/linked")
    for name in (
        b"-dash",
        b"sp ace",
        b"q'uo\"te",
        b"back\\slash",
        b"\xff\xfe",
        b"*?[",
        b"tab\t",
        b"x" * 255,
    ):
        Path(os.fsdecode(os.fsencode(top / "src") + b"/" + name)).write_bytes(name)
    deep = top / "src" / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    (deep / ("f" * 130)).write_text("far away")
    for path in sorted((top / "src").rglob("*"), reverse=True):
        os.utime(path, (OLD, OLD))
    os.utime(top / "src/x", (time.time(), OLD))  # or its two names' order would tell
    os.utime(top / "src/big", (OLD + 7, OLD))
    os.utime(top / "src/sub/y", (OLD + 8, OLD))
    os.utime(top / "src", (OLD, OLD - 5))


def snapshot(top: Path, *, times: bool) -> dict[str, object]:
    """Describe what is there; inodes by what was there under that name before."""
    found: dict[str, object] = {}
    for path in sorted([top, *top.rglob("*")], key=os.fsencode):
        about = path.lstat()
        what: object = about.st_size
        if stat.S_ISLNK(about.st_mode):
            what = os.readlink(path)
        elif stat.S_ISREG(about.st_mode):
            what = path.read_bytes()
        elif stat.S_ISDIR(about.st_mode):
            what = None
        seen = [oct(about.st_mode), what]
        if not stat.S_ISDIR(about.st_mode):
            seen.append(about.st_nlink)
        if times and not stat.S_ISLNK(about.st_mode):
            whens = (about.st_mtime, about.st_atime)
            seen += [int(when) if when < OLD + 10_000 else "now" for when in whens]
        found[str(path.relative_to(top))] = seen
    return found


def inodes(top: Path) -> dict[str, int]:
    return {str(path.relative_to(top)): path.lstat().st_ino for path in top.rglob("*")}


@dataclass(frozen=True)
class Case:
    words: list[str]
    there: Callable[[Path], None] = lambda _: None  # what is on the server before
    here: Callable[[Path], None] = tree
    code: int = 0
    order: bool = field(default=True)


def kept(top: Path) -> None:
    """A tree that is there already, in another state."""
    make(top, to__src__x="older and longer than what will come", to__src__sub__y="2")
    make(top, to__src__hollow=0o711, to__elsewhere__z="linked from far")
    os.link(top / "to/src/x", top / "to/other-name")
    (top / "to/src/x").chmod(0o640)
    (top / "to/src/sub/y").chmod(0o777)
    (top / "to/src/readonly").symlink_to("../elsewhere/z")
    (top / "to/src/sub/deep").symlink_to("../../elsewhere")
    (top / "to/src/stays").write_text("stays")
    (top / "to/src/big").write_bytes(b"old" * 600_000)
    (top / "to/src/big").chmod(0o606)
    for path in (top / "to").rglob("*"):
        os.utime(path, (OLD - 100, OLD - 100))


def in_the_way(top: Path) -> None:
    make(top, to__src__x=0o755, to__src__sub="a file where a folder should be")
    make(top, to__src__private__key__oh="x")


def target_file(top: Path) -> None:
    make(top, file="what was there before")
    os.link(top / "file", top / "name")
    (top / "file").chmod(0o600)
    (top / "link").symlink_to("file")
    (top / "dangling").symlink_to("new")
    make(top, dir__inside="x")
    (top / "dirlink").symlink_to("dir")
    (top / "null").symlink_to("/dev/null")
    make(top, ro="r")
    (top / "ro").chmod(0o444)


UP = {
    "file into a folder": Case(["src/x", "POD:{}/"]),
    "file to a name": Case(["src/x", "POD:{}/name"]),
    "file -p": Case(["-p", "src/readonly", "POD:{}/name"]),
    "setuid": Case(["src/setuid", "POD:{}/name"]),
    "setuid -p": Case(["-p", "src/setuid", "POD:{}/name"]),
    "empty": Case(["src/empty", "POD:{}/name"]),
    "large": Case(["src/big", "POD:{}/name"]),
    "mode 0": Case(["-p", "src/none", "POD:{}/name"]),
    "over a file": Case(["src/x", "POD:{}/file"], target_file),
    "read-only over a file": Case(["src/readonly", "POD:{}/file"], target_file),
    "-p over a file": Case(["-p", "src/x", "POD:{}/file"], target_file),
    "large over a file": Case(["src/big", "POD:{}/file"], target_file),
    "over a read-only file": Case(["src/x", "POD:{}/ro"], target_file),
    "through a link": Case(["src/x", "POD:{}/link"], target_file),
    "through a dangling link": Case(["src/x", "POD:{}/dangling"], target_file),
    "into a linked folder": Case(["src/x", "POD:{}/dirlink"], target_file),
    "into /dev/null": Case(["src/big", "POD:{}/null"], target_file),
    "several": Case(["src/x", "src/empty", "src/readonly", "POD:{}/dir"], target_file),
    "several, one missing": Case(["src/x", "src/gone", "POD:{}/dir"], target_file, code=1),
    "several into a file": Case(["src/x", "src/empty", "POD:{}/file"], target_file, code=1),
    "several into nothing": Case(["src/x", "src/empty", "POD:{}/gone"], code=1),
    "no such folder": Case(["src/x", "POD:{}/gone/name"], code=1),
    "no such folder, large": Case(["src/big", "POD:{}/gone/name"], code=1),
    "a folder without -r": Case(["src", "POD:{}/"], code=1),
    "file in the way of a path": Case(["src/x", "POD:{}/file/name"], target_file, code=1),
    "name too long": Case(["src/x", "POD:{}/" + "n" * 300], code=1),
    "a name with blanks": Case(["src/x", "POD:{}/with\\ blank"]),
    "a quoted name": Case(["src/x", "POD:'{}/with blank'"]),
    "a glob as a target": Case(["src/x", "POD:{}/fil*"], target_file),
    "an ambiguous target": Case(["src/x", "POD:{}/*"], target_file, code=1),
    "tree": Case(["-r", "src", "POD:{}/new"]),
    "tree -p": Case(["-rp", "src", "POD:{}/new"]),
    "tree into a folder": Case(["-r", "src", "POD:{}"]),
    "tree into a folder -p": Case(["-r", "-p", "src", "POD:{}/."]),
    "tree over a tree": Case(["-r", "src", "POD:{}/to"], kept),
    "tree over a tree -p": Case(["-rp", "src", "POD:{}/to"], kept),
    "tree in the way": Case(["-r", "src", "POD:{}/to"], in_the_way, code=1),
    "tree over a file": Case(["-r", "src", "POD:{}/file"], target_file, code=1),
    "tree into no folder": Case(["-r", "src", "POD:{}/gone/gone"], code=1),
    "files and trees": Case(["-r", "src/x", "src/sub", "src/hollow", "src/to-dir", "POD:{}"]),
    "two trees": Case(["-r", "src/sub", "src/private", "POD:{}/dir"], target_file),
}


def plain(server: Server, said: bytes) -> list[str]:
    """What the client said, without what is known to differ: names of this run's folder."""
    text = said.decode(errors="surrogateescape").replace(str(server.folder.parent), "")
    return sorted(text.splitlines())


@pytest.mark.parametrize("name", UP)
def test_up(both: Both, name: str) -> None:
    case = UP[name]
    before = []
    for server in (both.real, both.engine):
        case.here(server.folder.parent)
        case.there(server.folder)
        before.append(inodes(server.folder))
    real, engine = (server.scp(*case.words) for server in (both.real, both.engine))
    assert real.returncode == case.code, real.stderr
    assert plain(both.engine, engine.stderr) == plain(both.real, real.stderr)
    assert engine.returncode == real.returncode
    times = any("p" in word for word in case.words if word.startswith("-"))
    there = snapshot(both.engine.folder, times=times)
    assert there == snapshot(both.real.folder, times=times)
    for server, old in zip((both.real, both.engine), before, strict=True):
        now = inodes(server.folder)
        assert {name: now.get(name) for name in old} == old


@pytest.mark.parametrize("sent", [0, 100_000, 299_999, 300_000])
@pytest.mark.parametrize("within_a_tree", [False, True])
def test_an_old_file_keeps_its_end_until_all_has_come(
    both: Both, sent: int, within_a_tree: bool
) -> None:
    """The client is cut off after so many of 300,000 bytes; there were 400,000."""
    ends = []
    for server in (both.real, both.engine):
        old = server.folder / "tree/old"
        old.parent.mkdir()
        old.write_bytes(b"o" * 400_000)
        stream = b"C0644 300000 old\n" + b"n" * sent + b"\0" * (sent == 300_000)
        words = f"-t {old}"
        if within_a_tree:
            more = b"C0644 5 more\nbytes\0E\n" * (sent == 300_000)
            stream, words = b"D0755 0 tree\n" + stream + more, f"-r -t {server.folder}"
        argv = [str(server.ssh), "pod", f"scp {words}"]
        done = subprocess.run(argv, input=stream, capture_output=True, timeout=60)
        data = old.read_bytes()
        # How much of what was sent arrives is a matter of buffers.
        assert 0 <= sent - data.count(b"n") < 65536
        assert data == b"n" * data.count(b"n") + b"o" * data.count(b"o")
        ends.append((len(data), done.returncode))
    assert ends[0] == ends[1]


def odd(top: Path) -> None:
    tree(top)
    os.mkfifo(top / "src/sub/pipe")
    (top / "src/gone").symlink_to("nowhere")
    make(top, **{"src__.hidden": "h", "src__..more": "m"})


DOWN = {
    "file": Case(["POD:{}/src/x", "."]),
    "file to a name": Case(["POD:{}/src/x", "name"]),
    "file -p": Case(["-p", "POD:{}/src/x", "name"]),
    "empty": Case(["POD:{}/src/empty", "."]),
    "mode 0": Case(["-p", "POD:{}/src/none", "."]),
    "large": Case(["POD:{}/src/big", "."]),
    "setuid -p": Case(["-p", "POD:{}/src/setuid", "."]),
    "glob": Case(["POD:{}/src/*o*", "."], code=1),
    "quoted": Case(["POD:{}/src/q\\'uo\\\"te", "."]),
    "a blank": Case(["POD:{}/src/sp\\ ace", "."]),
    "link": Case(["POD:{}/src/to-file", "."]),
    "missing": Case(["POD:{}/src/gone-too", "."], code=1),
    "through a file": Case(["POD:{}/src/x/y", "."], code=1),
    "no match": Case(["POD:{}/src/*.gone", "."], code=1),
    "dangling": Case(["POD:{}/src/gone", "."], code=1),
    "folder without -r": Case(["POD:{}/src", "."], code=1),
    "pipe": Case(["POD:{}/src/sub/pipe", "."], code=1),
    "device": Case(["POD:/dev/null", "."], code=1),
    "trailing slashes": Case(["-r", "POD:{}/src/sub/deep//", "."]),
    "several": Case(["POD:{}/src/x", "POD:{}/src/empty", "."]),
    "some missing": Case(["-T", "POD:{}/src/x {}/src/gone {}/src/empty", "."], code=1),
    "two in one word": Case(["-T", "POD:{}/src/x {}/src/empty", "."]),
    "tree": Case(["-r", "POD:{}/src", "back"], code=1),
    "tree -p": Case(["-rp", "POD:{}/src", "back"], code=1),
    "subtree -p": Case(["-rp", "POD:{}/src/private", "."]),
    "trees by glob": Case(["-r", "POD:{}/src/[ps]*", "."], code=1),
    "through a linked folder": Case(["-r", "POD:{}/src/to-dir/deep", "."]),
    "linked folder": Case(["-r", "POD:{}/src/sub/deep", "back"]),
    "dot": Case(["-r", "POD:{}/src/hollow/.", "."], code=1),
    "target missing": Case(["POD:{}/src/x", "gone/name"], code=1),
    "tree onto a file": Case(["-r", "POD:{}/src/sub", "back/file"], code=1),
    "files in the way": Case(["-r", "POD:{}/src/sub", "taken"], code=1),
}


@pytest.mark.parametrize("name", DOWN)
def test_down(both: Both, name: str) -> None:
    case = DOWN[name]
    for server in (both.real, both.engine):
        odd(server.folder)
        make(server.folder.parent, back__file="f", taken__sub__deep="f", taken__sub__y=0o755)
    real, engine = (server.scp(*case.words) for server in (both.real, both.engine))
    assert real.returncode == case.code, real.stderr
    assert plain(both.engine, engine.stderr) == plain(both.real, real.stderr)
    assert engine.returncode == real.returncode
    for server in (both.real, both.engine):
        (server.folder.parent / f"ssh-{server.folder.parent.name}").unlink()
    times = any("p" in word for word in case.words if word.startswith("-"))
    here = snapshot(both.engine.folder.parent, times=times)
    assert here == snapshot(both.real.folder.parent, times=times)


def test_a_file_shorter_than_it_says_is_no_success(both: Both) -> None:
    """As one that shrinks while it is read; the kernel's say that they are a page."""
    for server in (both.real, both.engine):
        done = server.scp("POD:/sys/devices/system/cpu/online", "short")
        data = (server.folder.parent / "short").read_bytes()
        assert done.returncode == 1, done.stderr
        assert data.rstrip(b"\0") == Path("/sys/devices/system/cpu/online").read_bytes()
