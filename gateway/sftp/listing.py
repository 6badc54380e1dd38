"""What the agent says about files, read: attributes, and a folder's names with theirs."""

import re
import time
from itertools import islice

from gateway.sftp import agent, packets
from gateway.sftp.attributes import Attributes, Entry
from gateway.sftp.handles import Folder, Handles
from gateway.sftp.packets import Status

NAMES_AT_ONCE = 100  # as OpenSSH's server
_UNKNOWN = b"UNKNOWN"  # what stat says for a number without a name
_BEFORE_NAME = 9
_MAX_RECORD = 4096
NONSENSE = "the image's tools said what it can't"


class Listing:
    """The job that lists a folder: OPENDIR. Keeps the records for READDIR; `handles` has room."""

    weight = 0

    def __init__(self, request_id: int, path: bytes, mark: bytes, handles: Handles) -> None:
        self._id = request_id
        self._path = path
        self._mark = mark
        self._handles = handles
        self._folder = Folder()
        self._held = b""
        self._fits = True

    def line(self) -> bytes:
        """Return the line."""
        return agent.line("list", self._path)

    def output(self, data: bytes) -> bytes:
        """Keep each record that is whole by now: the next one's mark has come."""
        *whole, rest = (self._held + data).split(self._mark)
        self._held = rest[:_MAX_RECORD]
        self._keep(whole)
        return b""

    def _keep(self, records: list[bytes]) -> None:
        for record in records:
            if record.count(b" ") >= _BEFORE_NAME:  # not the blank line before the first mark
                self._fits = self._fits and self._handles.list(self._folder, record)

    def end(self, ended: agent.Ended) -> bytes:
        """Answer."""
        self._keep([self._held])
        if not ended.code and self._fits:
            return packets.handle(self._id, self._handles.add(self._folder))
        self._handles.give_up(self._folder)
        if ended.code:
            return packets.status(self._id, *agent.explain(ended.complaint))
        return packets.status(self._id, Status.FAILURE, "Too many names in open folders")

    def fail(self, reason: str) -> bytes:
        """Answer so."""
        return packets.status(self._id, Status.FAILURE, reason)


def next_names(request_id: int, folder: Folder) -> bytes:
    """Answer READDIR: the next names, or that there are no more."""
    now = time.time()
    taken = list(islice(iter(folder.records), NAMES_AT_ONCE))
    for _ in taken:
        folder.records.popleft()
    if not taken:
        return packets.status(request_id, Status.EOF)
    try:
        return packets.names(request_id, [_entry(record).encode(now) for record in taken])
    except ValueError:
        return packets.status(request_id, Status.FAILURE, NONSENSE)


def attributes(output: bytes) -> Attributes:
    """Read what `stat` said, in the order of agent.sh's `fields`. Raises ValueError."""
    return _attributes(output.split())


def _entry(record: bytes) -> Entry:
    *words, path = record.split(b" ", _BEFORE_NAME)
    links, *owners = words[6:]
    about = _attributes(words)
    names = [
        b"%d" % number if name == _UNKNOWN else name
        for number, name in zip(about.owner or (), owners, strict=True)
    ]
    return Entry(path.removeprefix(b"./").removesuffix(b"\n"), about, links, *names)


def _attributes(words: list[bytes]) -> Attributes:
    mode, *numbers = words[:6]
    size, uid, gid, atime, mtime = map(int, numbers)
    if not re.fullmatch(rb"[0-9a-f]{1,8}", mode):
        raise ValueError("that is no mode")
    return Attributes(size, (uid, gid), int(mode, 16), (atime, mtime))
