"""The same requests to OpenSSH's sftp-server and to ours: same answers, same files."""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from .client import (
    APPEND,
    CLOSE,
    CREAT,
    EOF,
    EXCL,
    FSTAT,
    HANDLE,
    LSTAT,
    MKDIR,
    OK,
    OPEN,
    READ,
    READLINK,
    REALPATH,
    REMOVE,
    RENAME,
    RMDIR,
    SETSTAT,
    STAT,
    SYMLINK,
    TRUNC,
    WRITE,
    Answer,
    Client,
    R,
    W,
)

NAMES = [
    b"a",
    b"with space 'and \"quotes",
    b"-rf",
    b"new\nline",
    b"bytes \xff\x81\x88",
    b"\xc3\xa4\\n$HOME`x`*?[a]",
    b"folder",
    b"folder/in it",
    b"folder/*",
    b"folder/\n",
    b".hidden",
    b"..strange",
    b"missing/x",
    b"a/not a folder",
]
OLD = 1_000_000_000  # a time that no file gets by itself
name = st.sampled_from(NAMES)
mode = st.sampled_from([0o644, 0o600, 0o755, 0o444, 0o4711, 0o777])
place = st.sampled_from([0, 1, 5, 4096, 32768, 65536, 70000])
content = st.sampled_from([b"x", b"y" * 100, b"z\n\0" * 11000])
flags = st.sampled_from(
    [R, W, R | W, W | CREAT, W | CREAT | TRUNC, R | W | CREAT, W | CREAT | EXCL, W | APPEND | CREAT]
)
requests = st.one_of(
    st.tuples(st.just("write"), name, flags, mode, place, content),
    st.tuples(st.just("read"), name, place, st.sampled_from([1, 100, 40000, 300_000])),
    st.tuples(st.just(STAT), name),
    st.tuples(st.just(LSTAT), name),
    st.tuples(st.just("list"), name),
    st.tuples(st.just(REMOVE), name),
    st.tuples(st.just(MKDIR), name, st.fixed_dictionaries({}, optional={"mode": mode})),
    st.tuples(st.just(RMDIR), name),
    st.tuples(st.just(RENAME), name, name),
    st.tuples(st.just(SYMLINK), name, name),
    st.tuples(st.just(READLINK), name),
    st.tuples(st.just("real"), name),
    st.tuples(st.just(SETSTAT), name, st.fixed_dictionaries({"mode": mode})),
    st.tuples(st.just(SETSTAT), name, st.fixed_dictionaries({"size": place})),
    st.tuples(st.just(SETSTAT), name, st.just({"atime": OLD + 1, "mtime": OLD})),
    st.tuples(st.just(b"posix-rename@openssh.com"), name, name),
    st.tuples(st.just(b"hardlink@openssh.com"), name, name),
)


def asked(client: Client, top: bytes, request: tuple[Any, ...]) -> object:
    """Make a request and return what is comparable of its answer."""
    kind, *fields = request
    path = top + b"/" + fields[0]
    if kind == "write":
        return written(client, path, *fields[1:])
    if kind == "read":
        return read(client, path, *fields[1:])
    if kind == "list":
        answer = client.list(path)
        return answer.code, [(one, plain(about)) for one, _, about in answer.names]
    if kind == "real":
        answer = client.ask(REALPATH, path)
        return answer.code, [one.partition(b"/run-")[2] for one, _, _ in answer.names]
    if kind in {SYMLINK, RENAME} or isinstance(kind, bytes):
        first = fields[0] if kind == SYMLINK else path
        fields = [first, top + b"/" + fields[1]]
    else:
        fields[0] = path
    answer = (
        client.extended(kind, *fields) if isinstance(kind, bytes) else client.ask(kind, *fields)
    )
    if kind == b"hardlink@openssh.com":
        return answer.code == OK  # where two things are wrong, either may be told
    return comparable(answer)


def comparable(answer: Answer) -> object:
    return answer.code, plain(answer.attributes), [one for one, _, _ in answer.names]


def plain(about: dict[str, int]) -> dict[str, int]:
    """Leave out what two file trees can't have in common."""
    kept = {one: value for one, value in about.items() if one in {"uid", "gid", "mode"}}
    if not stat.S_ISDIR(about.get("mode", 0)):
        kept["size"] = about.get("size", -1)
    kept["old"] = about.get("mtime") == OLD
    return kept


def written(client: Client, path: bytes, how: int, mode: int, at: int, data: bytes) -> object:
    opened = client.ask(OPEN, path, how, {"mode": mode})
    if opened.kind != HANDLE:
        return comparable(opened)
    # Two neighbours and one apart, sent at once.
    parts = [(at, data), (at + len(data), b"more"), (at + 200_000, b"far")]
    sent = [client.send(WRITE, opened.data, (where,), part) for where, part in parts]
    sent += [client.send(FSTAT, opened.data), client.send(READ, opened.data, (at,), 10)]
    sent += [client.send(CLOSE, opened.data), client.send(CLOSE, opened.data)]
    return outcomes([client.result(request) for request in sent])


def read(client: Client, path: bytes, at: int, length: int) -> object:
    opened = client.ask(OPEN, path, R, {})
    if opened.kind != HANDLE:
        return comparable(opened)
    asked = [(at, length), (at + length, 7), (at + length + 7, 7), (3, 0), (2**40, 5)]
    sent = [client.send(READ, opened.data, (where,), size) for where, size in asked]
    sent += [client.send(WRITE, opened.data, (0,), b"no"), client.send(CLOSE, opened.data)]
    return outcomes([client.result(request) for request in sent])


def outcomes(answers: list[Answer]) -> object:
    """What a handle does not allow, OpenSSH refuses with EBADF's code: no such file."""
    return [
        (
            "refused" if (answer.code or 0) > EOF else answer.code,
            answer.data,
            answer.attributes.get("size"),
        )
        for answer in answers
    ]


def tree(top: Path) -> dict[bytes, object]:
    found: dict[bytes, object] = {}
    for folder, folders, files in os.walk(os.fsencode(top)):
        for one in folders + files:
            path = os.path.join(folder, one)
            about = os.lstat(path)
            what = os.readlink(path) if stat.S_ISLNK(about.st_mode) else b""
            if stat.S_ISREG(about.st_mode):
                what = Path(os.fsdecode(path)).read_bytes()
            name = os.path.relpath(path, os.fsencode(top))
            found[name] = (about.st_mode, about.st_nlink, what, about.st_mtime == OLD)
    return found


same_requests = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
some_steps = given(steps=st.lists(requests, min_size=1, max_size=25))


def destroys_itself(top: Path, step: tuple[Any, ...]) -> bool:
    """A link renamed over the file that it leads to: rename(2) does it, mv refuses."""
    if step[0] != b"posix-rename@openssh.com":
        return False
    old, new = (os.path.join(os.fsencode(top), name) for name in step[1:])
    with suppress(OSError):
        return os.path.islink(old) and os.path.samefile(old, new)
    return False


def compare(client: Client, other: Client, here: Path, there: Path, steps: list[Any]) -> None:
    run = f"run-{len(os.listdir(here))}"
    for folder in (here, there):
        (folder / run / "folder").mkdir(parents=True)
        (folder / run / "a").write_bytes(b"12345" * 20000)
    for step in steps:
        if destroys_itself(here / run, step):
            continue
        assert asked(client, run.encode(), step) == asked(other, run.encode(), step), step
    assert tree(here / run) == tree(there / run)


@settings(same_requests, max_examples=20)
@example(steps=[(18, b"a", b"b"), (20, b"a", b"a"), (18, b"a", b"a"), (18, b"a", b"c")])
@example(steps=[(20, b"none", b"l"), (18, b"a", b"l"), (18, b"folder", b"l"), (18, b"l", b"b")])
@some_steps
def test_the_same_requests(
    client: Client, other: Client, here: Path, there: Path, steps: list[Any]
) -> None:
    compare(client, other, here, there, steps)


@pytest.mark.slow
@settings(same_requests, max_examples=500)
@some_steps
def test_many_of_the_same_requests(
    client: Client, other: Client, here: Path, there: Path, steps: list[Any]
) -> None:
    compare(client, other, here, there, steps)
