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
from gateway.scp_place import MAX_LISTING, Known, Place, mode_word, read_listing, times_words
from gateway.scp_records import Entry, Outbox, Times

_OWNER_WRITES, _OWNER_ALL, _PERMISSIONS = 0o200, 0o700, 0o777
# What dd and the shell create files with, before the umask.
_CREATES = 0o666
_MAX_PATH = 4096
# From this size on a file is opened in the pod before its bytes are asked for.
_OPEN_FIRST = 64 * 1024
# tar empties a file that is there before it writes. From this size on that would be noticed, by who
# has it mapped, or when the copy breaks off; smaller ones are whole in a moment.
_KEEP_OLD = scp_tar.CHUNK
_MAX_ERRORS = 16
_MAX_ANSWER = 64 * 1024


@dataclass(frozen=True)
class _Folder:
    """A folder that the client is in. Its mode is None where it stays as it is."""

    path: bytes
    mode: int | None = None
    times: Times | None = None


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
        self._known: Known = {}

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
        path, mode = self._below(entry.name), self._masked(entry)
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
        def begin(_: bytes) -> None:
            if created_first and self.errors:
                then(False)
                return
            self._write(path, entry, times)
            then(True)

        created_first = not self._folders and entry.size >= _OPEN_FIRST
        if created_first:
            self._operate(b"create " + self._umask(entry), path)
            self._then = begin
        else:
            begin(b"")

    def _write(self, path: bytes, entry: Entry, times: Times | None) -> None:
        mode = self._masked(entry)
        new = None if (mode | _OWNER_WRITES) & _CREATES == mode else mode
        old = mode if self._preserve else None
        words = [b"file", self._umask(entry), mode_word(new), mode_word(old), times_words(times)]
        self._operate(b" ".join([*words, b"%d %d" % divmod(entry.size, scp_tar.DD_BLOCK)]), path)

    def _umask(self, entry: Entry) -> bytes:
        return b"%o" % (_PERMISSIONS & ~(self._masked(entry) | _OWNER_WRITES))

    def _masked(self, entry: Entry) -> int:
        return self._place.masked(entry.mode, preserve=self._preserve)

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
        """Begin an archive if tar can be trusted with what is there already."""
        known = read_listing(listing, preserve=self._preserve)
        if known is None:
            then(True)
        else:
            self._pack(known, then)

    def _pack(self, known: Known, then: _Then) -> None:
        self._known, self._archive = known, self._folders[0].path
        # -G has tar set the time of the last access, too; there is nothing incremental about it.
        self._operate(b"unpack -G" if self._preserve else b"unpack -m", self._archive)
        self._packer = scp_tar.Packer(self._out.send, accessed=self._preserve)
        then(True)

    def _pack_folder(self, path: bytes, mode: int, times: Times | None, then: _Then) -> None:
        assert self._packer
        name = self._in_archive(path)
        kind, there = self._known.get(name, (b"", mode))
        if kind == b"f":
            self._refuse(path, b"Not a directory", then)
            return
        self._packer.folder(b"./" + name, mode if self._preserve else there, self._times(times))
        self._folders.append(_Folder(path))
        then(True)

    def _pack_file(self, path: bytes, entry: Entry, times: Times | None, then: _Then) -> None:
        assert self._packer
        mode, name = self._masked(entry), self._in_archive(path)
        kind, there = self._known.get(name, (b"", mode))
        if kind == b"d":
            self._refuse(path, b"Is a directory", then)
            return
        if kind == b"f" and entry.size >= _KEEP_OLD:
            self._packer.interrupt()
            self._write(path, entry, times)
        else:
            mode = mode if self._preserve else there
            self._packer.file(b"./" + name, mode, entry.size, self._times(times))
        then(True)

    def _in_archive(self, path: bytes) -> bytes:
        return path[len(self._archive) + 1 :] if self._archive else path

    def _times(self, times: Times | None) -> Times:
        return times or self._folders[0].times or Times(0, 0)

    # What the pod answers.

    def from_pod(self, data: bytes) -> None:
        """Take answers: lines, or a listing."""
        self._answers += data

    def take_answer(self) -> bool:
        """Work on one answer; return whether there was one."""
        return self._take_listing() if self._listing is not None else self._take_line()

    @property
    def overlong(self) -> bool:
        """Whether what is left, once all answers are taken, is too long for one."""
        return len(self._answers) > _MAX_ANSWER or len(self._listing or b"") > 2 * MAX_LISTING

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
