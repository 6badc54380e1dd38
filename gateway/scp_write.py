"""Writes the files of an upload: what to have the pod's side (scp-receive.sh) do, and its answers.

A file that lies in no folder of this copy is one operation, and so is a folder. What lies within a
folder goes into one archive where the pod has GNU tar, and is an operation each elsewhere; nobody
waits for those one by one.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from gateway import scp_tar
from gateway.scp import ScpCommand
from gateway.scp_place import Place, mode_word, times_words
from gateway.scp_records import Entry, Outbox, Times

_OWNER_WRITES, _OWNER_ALL, _PERMISSIONS = 0o200, 0o700, 0o777
# What dd and the shell create files with, before the umask.
_CREATES = 0o666
_MAX_PATH = 4096
# From this size on a file is opened in the pod before its bytes are asked for.
_OPEN_FIRST = 64 * 1024
_MAX_ERRORS = 16
# scp-receive.sh cuts a listing here.
_MAX_LISTING = 1024 * 1024
_MAX_ANSWER = 64 * 1024


@dataclass(frozen=True)
class _Folder:
    """A folder that the client is in. Its mode is None where it stays as it is."""

    path: bytes
    mode: int | None = None
    times: Times | None = None


# What is already in a folder, by path: `f` or `d`, and the mode.
_Known = dict[bytes, tuple[bytes, int]]
_Then = Callable[[bool], None]


class Writer:
    """What the pod is told. Where success isn't known at once, `waiting` is true until it is.

    The callbacks get whether it worked; if it didn't, `errors` says why.
    """

    def __init__(self, command: ScpCommand, place: Place, out: Outbox) -> None:
        self.errors: deque[bytes] = deque()
        self.failed = False
        self._preserve = command.preserve
        self._place = place
        self._out = out
        self._answers = bytearray()
        self._listing: bytearray | None = None
        self._then: Callable[[bytes], None] | None = None
        self._folders: list[_Folder] = []
        self._packer: scp_tar.Packer | None = None
        self._archive = b""
        self._known: _Known = {}

    @property
    def waiting(self) -> bool:
        """Whether the next step needs an answer from the pod."""
        return self._then is not None

    @property
    def depth(self) -> int:
        """Count the folders around the place where the client is."""
        return len(self._folders)

    # What the client sends.

    def file(self, entry: Entry, times: Times | None, then: _Then) -> None:
        """Begin a file; its bytes go to `content` once `then` was called with True."""
        path = self._below(entry.name)
        if len(self._place.path(path)) >= _MAX_PATH:
            self._refuse(path, b"File name too long", then)
        elif self._packer:
            self._pack_file(path, entry, times, then)
        else:
            self._file(path, entry, times, then)

    def content(self, data: bytes) -> None:
        """Take the next bytes of the file."""
        if self._packer:
            self._packer.content(data)
        else:
            self._out.send(data)

    def file_ended(self) -> None:
        """Take note that the file has all its bytes."""
        if self._packer:
            self._packer.file_ended()

    def enter(self, entry: Entry, times: Times | None, then: _Then) -> None:
        """Go into a folder, made if it isn't there."""
        path, mode = (
            self._below(entry.name),
            self._place.masked(entry.mode, preserve=self._preserve),
        )
        if len(self._place.path(path)) >= _MAX_PATH:
            self._refuse(path, b"File name too long", then)
        elif self._packer:
            self._pack_folder(path, mode, times, then)
        else:
            self._operate(b"folder %o" % (_PERMISSIONS & ~(mode | _OWNER_ALL)), path)
            self._then = lambda answer: self._entered(answer, _Folder(path, mode, times), then)

    def leave(self) -> None:
        """Go out of the folder."""
        folder = self._folders.pop()
        if self._packer and self._folders:
            return
        if self._packer:
            self._packer.end()
            self._packer, self._known = None, {}
        self._operate(
            b"finish %s %s" % (mode_word(folder.mode), times_words(folder.times)), folder.path
        )

    def sync(self, then: Callable[[], None]) -> None:
        """Call back when all that was sent so far is written and closed, or failed."""
        self._operate(b"sync")
        self._then = lambda _: then()

    def quit(self) -> None:
        """Let the pod's side end by itself."""
        self._operate(b"quit")

    # Single operations.

    def _file(self, path: bytes, entry: Entry, times: Times | None, then: _Then) -> None:
        mode = self._place.masked(entry.mode, preserve=self._preserve)
        created = mode | _OWNER_WRITES
        new = None if created & _CREATES == mode else mode
        old = mode if self._preserve else None
        umask = b"%o" % (_PERMISSIONS & ~created)
        words = b" ".join([umask, mode_word(new), mode_word(old), times_words(times)])

        def begin(_: bytes) -> None:
            if created_first and self.errors:
                then(False)
                return
            self._operate(b"file %s %d %d" % (words, *divmod(entry.size, scp_tar.DD_BLOCK)), path)
            then(True)

        created_first = not self._folders and entry.size >= _OPEN_FIRST
        if created_first:
            self._operate(b"create " + umask, path)
            self._then = begin
        else:
            begin(b"")

    def _entered(self, answer: bytes, folder: _Folder, then: _Then) -> None:
        if answer == b"=":
            then(False)
            return
        new, keep = answer == b"+new", self._preserve
        self._folders.append(folder if new or keep else _Folder(folder.path, None, folder.times))
        # An archive has a time for everything, and an old-fashioned client may have sent none.
        may_pack = self._place.packs and (folder.times or not keep)
        if self.depth > 1 or not may_pack:
            then(True)
        elif new:
            self._pack({}, then)
        else:
            self._operate(b"list", folder.path)
            self._listing, self._then = bytearray(), lambda listing: self._listed(listing, then)

    # An archive.

    def _listed(self, listing: bytes, then: _Then) -> None:
        """Begin an archive if all of what is there already is known, and files and folders.

        tar goes through links to folders, too, but doesn't set their times.
        """
        records = [record for record in listing.split(b"\0") if record]
        plain = b"fd" if self._preserve else b"fdl"
        if not all(record[:1] in plain for record in records) or len(listing) >= _MAX_LISTING:
            then(True)
            return
        known = {}
        for record in records:
            mode, _, path = record[1:].partition(b" ")
            known[path] = record[:1].replace(b"l", b"d"), int(mode, 8)
        self._pack(known, then)

    def _pack(self, known: _Known, then: _Then) -> None:
        self._known, self._archive = known, self._folders[0].path
        self._operate(b"unpack" if self._preserve else b"unpack -m", self._archive)
        self._packer = scp_tar.Packer(self._out.send)
        then(True)

    def _pack_folder(self, path: bytes, mode: int, times: Times | None, then: _Then) -> None:
        assert self._packer
        name = self._in_archive(path)
        kind, there = self._known.get(name, (b"", mode))
        if kind == b"f":
            self._refuse(path, b"Not a directory", then)
            return
        self._packer.folder(b"./" + name, mode if self._preserve else there, self._mtime(times))
        self._folders.append(_Folder(path))
        then(True)

    def _pack_file(self, path: bytes, entry: Entry, times: Times | None, then: _Then) -> None:
        assert self._packer
        mode, name = self._place.masked(entry.mode, preserve=self._preserve), self._in_archive(path)
        kind, there = self._known.get(name, (b"", mode))
        if kind == b"d":
            self._refuse(path, b"Is a directory", then)
            return
        mode = mode if self._preserve else there
        self._packer.file(b"./" + name, mode, entry.size, self._mtime(times))
        then(True)

    def _in_archive(self, path: bytes) -> bytes:
        return path[len(self._archive) + 1 :] if self._archive else path

    def _mtime(self, times: Times | None) -> int:
        times = times or self._folders[0].times
        return times.mtime if times else 0

    # What the pod answers.

    def from_pod(self, data: bytes) -> bool:
        """Take answers: lines, or a listing. Return False if they are none."""
        self._answers += data
        while self._take_listing() if self._listing is not None else self._take_line():
            pass
        return len(self._answers) <= _MAX_ANSWER

    def _take_line(self) -> bool:
        line = self._take_until(b"\n")
        if line is not None:
            self._answered(line)
        return line is not None

    def _take_listing(self) -> bool:
        record = self._take_until(b"\0")
        if record is None or self._listing is None:
            return False
        if record:
            self._listing += record + b"\0"
        else:
            listing, self._listing = bytes(self._listing), None
            self._go_on(listing)
        return True

    def _take_until(self, end: bytes) -> bytes | None:
        at = self._answers.find(end)
        taken = bytes(self._answers[:at]) if at >= 0 else None
        del self._answers[: at + 1]
        return taken

    def _answered(self, line: bytes) -> None:
        if line in {b"=", b"+new", b"+old"}:
            self._go_on(line)
        elif line.startswith(b"!"):
            self._note(line[1:])
        elif line.startswith(b"="):  # tar's exit code; what was wrong it has said before
            if line != b"=0" and not self.failed:
                self._note(b"tar in the pod failed")
        elif line.startswith(b"tar: "):
            said = scp_tar.complaint(line)
            if said:
                path = b"/".join(filter(None, [self._archive, said[0].removeprefix(b"./")]))
                self._note(self._place.path(path) + b": " + said[1])
        else:
            self._out.stderr.append(line + b"\n")

    def _go_on(self, answer: bytes) -> None:
        then, self._then = self._then, None
        if then:
            then(answer)

    # The parts.

    def _operate(self, words: bytes, path: bytes = b"") -> None:
        self._out.send(words + b"\n" + path + b"\n")

    def _below(self, name: bytes) -> bytes:
        if self._folders:
            return b"/".join(filter(None, [self._folders[-1].path, name]))
        return name if self._place.kind == b"folder" else b""

    def _refuse(self, path: bytes, why: bytes, then: _Then) -> None:
        self.failed = True
        self.errors.appendleft(self._place.path(path) + b": " + why)
        then(False)

    def _note(self, error: bytes) -> None:
        self.failed = True
        if len(self.errors) < _MAX_ERRORS:
            self.errors.append(error)
        else:
            self._out.stderr.append(b"scp: " + error + b"\n")
