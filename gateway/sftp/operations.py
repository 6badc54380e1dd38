"""From a request to the agent's line for it, or to the answer where no line is needed."""

import stat
from collections.abc import Callable

from gateway.sftp import handles, listing, packets
from gateway.sftp.agent import line
from gateway.sftp.attributes import Attributes, Entry
from gateway.sftp.handles import BadHandle, File, Folder, Handles, NotAllowed
from gateway.sftp.jobs import Job, Reading, Simple, Writing
from gateway.sftp.listing import Listing
from gateway.sftp.packets import Flags, Kind, Request, Status

_MAX_PATH = 4096  # Linux's PATH_MAX
_MAX_OFFSET = 2**63 - 1
# The file is opened anew for each job, so its owner needs these until it is closed.
_OWNERS_RIGHTS = {Flags.READ: 0o400, Flags.WRITE: 0o200}
_OPENED, _FOLDER_MADE = 0o666, 0o777  # the modes that files and folders get where none is given
_FOLDER_BITS = 0o1777  # what mkdir(2) heeds

Begun = Job | bytes


class Operations:
    """Begins requests. `mask` is the umask in the pod, `mark` what stands before each record."""

    def __init__(self, mask: int, mark: bytes) -> None:
        self._mask = mask
        self._mark = mark
        self._handles = Handles()

    def begin(self, request: Request, last: Job | None) -> Begun | None:
        """Return the job that a request is, or its answer, or None: `last` took it along."""
        extended = request.kind == Kind.EXTENDED
        begin = _EXTENDED.get(request.name) if extended else _KINDS.get(request.kind)
        if begin is None:
            return packets.status(request.id, Status.OP_UNSUPPORTED)
        if max(len(request.path), len(request.other)) > _MAX_PATH:
            return packets.status(request.id, Status.BAD_MESSAGE, "File name too long")
        try:
            return begin(self, request, last)
        except BadHandle:
            return packets.status(request.id, Status.FAILURE, "No such handle")
        except NotAllowed:
            return packets.status(request.id, Status.PERMISSION_DENIED)

    # Open files.

    def open(self, request: Request, _: Job | None) -> Begun:
        """OPEN: the file is made and cut if that is asked for, and held."""
        if not self._handles.reserve():
            return packets.status(request.id, Status.FAILURE, "Too many open handles")
        flags = Flags(request.flags & _KNOWN_FLAGS)
        if flags & Flags.APPEND:
            flags |= Flags.WRITE
        wanted = _OPENED if request.attributes.mode is None else request.attributes.mode
        final = stat.S_IMODE(wanted) & ~self._mask
        made = final | sum(right for flag, right in _OWNERS_RIGHTS.items() if flags & flag)

        def opened(output: bytes) -> bytes:
            holder, age = output.split()
            late = final if age == b"new" and final != made else None
            name = self._handles.add(File(int(holder), flags, late))
            return packets.handle(request.id, name)

        text = line("open", _path(request.path), *_open_words(flags, made))
        return Simple(request.id, text, opened, self._handles.give_up)

    def close(self, request: Request, _: Job | None) -> Begun:
        """CLOSE. The file's pending reads and writes stand before it in the queue."""
        closed = self._handles.close(request.handle)
        if isinstance(closed, Folder):
            return packets.status(request.id, Status.OK)
        return _done(request, line("close", closed.holder, _octal(closed.late_mode)))

    def read(self, request: Request, last: Job | None) -> Begun | None:
        """READ."""
        file = self._handles.file(request.handle, Flags.READ)
        if not request.length:
            return packets.data(request.id, b"")
        if isinstance(last, Reading) and last.add(file.holder, request):
            return None
        return Reading(file.holder, request)

    def write(self, request: Request, last: Job | None) -> Begun | None:
        """WRITE."""
        file = self._handles.file(request.handle, Flags.WRITE)
        if request.offset + len(request.data) > _MAX_OFFSET:
            return packets.status(request.id, Status.FAILURE, "File too large")
        if not request.data:
            return packets.status(request.id, Status.OK)
        if isinstance(last, Writing) and last.add(file.holder, request):
            return None
        return Writing(file.holder, request, append=bool(file.flags & Flags.APPEND))

    def flush(self, request: Request, _: Job | None) -> Begun:
        """fsync@openssh.com."""
        return _done(request, line("flush", self._handles.file(request.handle).holder))

    # Attributes.

    def attributes(self, request: Request, _: Job | None) -> Begun:
        """STAT, LSTAT and FSTAT."""
        follow = () if request.kind == Kind.LSTAT else ("-L",)

        def answer(output: bytes) -> bytes:
            return packets.attrs(request.id, listing.attributes(output))

        return Simple(request.id, line("attributes", self._which(request), *follow), answer)

    def set_attributes(self, request: Request, _: Job | None) -> Begun:
        """SETSTAT and FSETSTAT."""
        given = request.attributes
        if request.by_handle and given.mode is not None:
            self._handles.file(request.handle).late_mode = None
        size = "-" if given.size is None else given.size
        times = given.times or ("-", "-")
        owner = ":".join(map(str, given.owner)) if given.owner else "-"
        mode = None if given.mode is None else stat.S_IMODE(given.mode)
        words = (size, _octal(mode), *times, owner)
        return _done(request, line("set_attributes", self._which(request), *words))

    def space(self, request: Request, _: Job | None) -> Begun:
        """statvfs@openssh.com and fstatvfs@openssh.com."""

        def answer(output: bytes) -> bytes:
            *counts, identity, longest = output.split()
            size, fragment, blocks, free, available, files, free_files = map(int, counts)
            space = (size, fragment, blocks, free, available, files, free_files, free_files)
            return packets.numbers(request.id, (*space, int(identity, 16), 0, int(longest)))

        return Simple(request.id, line("space", self._which(request)), answer)

    def _which(self, request: Request) -> bytes:
        if request.by_handle:
            return b"/proc/%d/fd/3" % self._handles.file(request.handle).holder
        return _path(request.path)

    # Names.

    def open_folder(self, request: Request, _: Job | None) -> Begun:
        """OPENDIR: the folder is listed at once."""
        if not self._handles.reserve():
            return packets.status(request.id, Status.FAILURE, "Too many open handles")
        return Listing(request.id, _path(request.path), self._mark, self._handles)

    def read_folder(self, request: Request, _: Job | None) -> Begun:
        """READDIR."""
        return listing.next_names(request.id, self._handles.folder(request.handle))

    def make_folder(self, request: Request, _: Job | None) -> Begun:
        """MKDIR."""
        wanted = _FOLDER_MADE if request.attributes.mode is None else request.attributes.mode
        mode = wanted & _FOLDER_BITS & ~self._mask
        return _done(request, line("make_folder", _path(request.path), _octal(mode)))

    def remove(self, request: Request, _: Job | None) -> Begun:
        """REMOVE."""
        return _done(request, line("remove", _path(request.path)))

    def remove_folder(self, request: Request, _: Job | None) -> Begun:
        """RMDIR."""
        return _done(request, line("remove_folder", _path(request.path)))

    def rename(self, request: Request, _: Job | None) -> Begun:
        """RENAME, which fails where the new name is taken, and posix-rename, which does not."""
        how = "over" if request.kind == Kind.EXTENDED else "-"
        return _done(request, line("rename", _path(request.path), _path(request.other), how))

    def link(self, request: Request, _: Job | None) -> Begun:
        """hardlink@openssh.com."""
        return _done(request, line("link", _path(request.path), _path(request.other)))

    def symlink(self, request: Request, _: Job | None) -> Begun:
        """SYMLINK: what it points to is written as it came."""
        return _done(request, line("symlink", request.path, _path(request.other)))

    def read_link(self, request: Request, _: Job | None) -> Begun:
        """READLINK."""
        return _named(request, line("read_link", _path(request.path)))

    def real_path(self, request: Request, _: Job | None) -> Begun:
        """REALPATH."""
        return _named(request, line("real_path", _path(request.path)))

    def limits(self, request: Request, _: Job | None) -> Begun:
        """limits@openssh.com."""
        most = (packets.MAX_PACKET, packets.MAX_DATA, packets.MAX_DATA, handles.MAX_HANDLES)
        return packets.numbers(request.id, most)


def _done(request: Request, text: bytes) -> Simple:
    return Simple(request.id, text, lambda _: packets.status(request.id, Status.OK))


def _named(request: Request, text: bytes) -> Simple:
    def answer(output: bytes) -> bytes:
        name = Entry(output.removesuffix(b"\n"), Attributes())
        return packets.names(request.id, [name.bare()])

    return Simple(request.id, text, answer)


def _path(path: bytes) -> bytes:
    """Return a path that no tool takes for an option."""
    return path if path.startswith(b"/") else b"./" + path


def _octal(mode: int | None) -> str:
    return "-" if mode is None else f"{mode:o}"


def _open_words(flags: Flags, mode: int) -> tuple[str, ...]:
    how = ("r" if flags & Flags.READ else "") + ("w" if flags & Flags.WRITE else "")
    new = "must"
    if flags & Flags.CREATE:
        new = "new" if flags & Flags.EXCLUSIVE else "may"
    cut = flags & Flags.TRUNCATE and flags & Flags.WRITE
    # The shell creates with 0666 less a mask; what else there is to a mode is set after.
    later = _octal(mode) if mode & ~_OPENED else "-"
    return how or "r", new, "cut" if cut else "keep", _octal(0o777 & ~mode), later


_KNOWN_FLAGS = (
    Flags.READ | Flags.WRITE | Flags.APPEND | Flags.CREATE | Flags.TRUNCATE | Flags.EXCLUSIVE
)
_Begin = Callable[[Operations, Request, Job | None], Begun | None]
_KINDS: dict[int, _Begin] = {
    Kind.OPEN: Operations.open,
    Kind.CLOSE: Operations.close,
    Kind.READ: Operations.read,
    Kind.WRITE: Operations.write,
    Kind.LSTAT: Operations.attributes,
    Kind.FSTAT: Operations.attributes,
    Kind.STAT: Operations.attributes,
    Kind.SETSTAT: Operations.set_attributes,
    Kind.FSETSTAT: Operations.set_attributes,
    Kind.OPENDIR: Operations.open_folder,
    Kind.READDIR: Operations.read_folder,
    Kind.REMOVE: Operations.remove,
    Kind.MKDIR: Operations.make_folder,
    Kind.RMDIR: Operations.remove_folder,
    Kind.REALPATH: Operations.real_path,
    Kind.RENAME: Operations.rename,
    Kind.READLINK: Operations.read_link,
    Kind.SYMLINK: Operations.symlink,
}
_EXTENDED: dict[bytes, _Begin] = {
    packets.POSIX_RENAME: Operations.rename,
    packets.HARDLINK: Operations.link,
    packets.FSYNC: Operations.flush,
    packets.STATVFS: Operations.space,
    packets.FSTATVFS: Operations.space,
    packets.LIMITS: Operations.limits,
}
