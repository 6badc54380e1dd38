"""`scp -t`: the conversation with a client that sends files, as scp.c's `sink` holds it.

A file or folder that the client named itself is acknowledged when the pod has written and closed
it. What lies within a folder is acknowledged as it is taken: what went wrong with it is told with
a later acknowledgement, at the latest with the folder's own.
"""

from collections.abc import Callable

from gateway.scp import ScpCommand
from gateway.scp_place import Place
from gateway.scp_records import (
    MAX_LINE,
    OK,
    Entry,
    NameRefused,
    Outbox,
    ProtocolError,
    Times,
    parse,
    warning,
    whole_slice,
)
from gateway.scp_write import Writer

_MISSING, _NO_FOLDER = b"No such file or directory", b"Not a directory"

# Takes one thing from the client's bytes; False if it needs more of them.
_Step = Callable[[], bool]


class Receiving:
    """The conversation, without I/O. What it says goes to `out`; `exit_code` ends it."""

    def __init__(self, command: ScpCommand, place: Place, out: Outbox) -> None:
        self.exit_code: int | None = None
        self.more = False
        self._recursive = command.recursive
        self._out = out
        self._writer = Writer(command, place, out)
        self._data = bytearray()
        self._state: _Step = self._take_record
        self._first = True
        self._eof = self._quits = self._failed = False
        self._pod_code: int | None = None
        self._times: Times | None = None
        self._left = 0
        if command.directory and place.kind != b"folder":
            there = place.kind == b"other"
            self._die(place.target + b": " + (_NO_FOLDER if there else _MISSING))
        else:
            self._out.client.append(OK)

    @property
    def holds_client(self) -> bool:
        """Whether the client has to wait for the pod."""
        return self._writer.waiting

    @property
    def holds_pod(self) -> bool:
        """The pod says little."""
        return False

    # What happens.

    def from_client(self, data: bytes) -> None:
        """Take bytes from the client."""
        if self._state == self._take_content and not self._data:
            piece = data[: self._left]
            self._content(piece)
            data = data[len(piece) :]
        self._data += data
        self.go_on()

    def client_ended(self) -> None:
        """Take the client's end-of-file."""
        self._eof = True
        self.go_on()

    def from_pod(self, data: bytes) -> None:
        """Take the pod's answers."""
        self._writer.from_pod(data)
        self.go_on()

    def pod_complained(self, data: bytes) -> None:
        """Pass on what is none of the script's answers."""
        self._out.stderr.append(data)

    def pod_ended(self, code: int) -> None:
        """Take the end of the pod's side."""
        self._pod_code = code
        self.go_on()

    def go_on(self) -> None:
        """Work on what has come, a slice of it."""
        self.more = whole_slice(self._step)
        if self.exit_code is None and not self.more:
            self._see_ends()

    def _step(self) -> bool:
        if self.exit_code is not None:
            return False
        return self._writer.take_answer() or (self._client_may_go_on and self._state())

    @property
    def _client_may_go_on(self) -> bool:
        return not self._writer.waiting and not self._quits

    def _see_ends(self) -> None:
        """See who has ended, now that all they said is worked off."""
        if self._writer.overlong:
            self._die(b"the pod's side answers nonsense")
        elif self._pod_code is not None:
            self._pod_ended(self._pod_code)
        elif self._eof and self._client_may_go_on:
            resting = self._state == self._take_record and not self._data
            if resting and not self._writer.depth:  # scp.c takes it for the end in a folder, too
                self._quit()
            else:
                self._die(b"protocol error: lost connection")

    def _pod_ended(self, code: int) -> None:
        if self._quits:
            self.exit_code = code or int(self._failed or self._writer.failed)
        else:
            self._die(b"the pod's side of the copy ended early")
            self.exit_code = code or 1

    # What the client sends.

    def _take_record(self) -> bool:
        end = self._data.find(b"\n", 0, MAX_LINE)
        if end < 0:
            if len(self._data) >= MAX_LINE:
                self._die(b"protocol error: a line has no end")
            return False
        line = bytes(self._data[:end])
        del self._data[: end + 1]
        self._record(line)
        self._first = False
        return True

    def _record(self, line: bytes) -> None:
        letter = line[:1]
        if letter in {b"\x01", b"\x02"}:
            self._failed = True
            if letter == b"\x02":
                self.exit_code = 1
        elif letter == b"E":
            self._end_folder()
        elif not letter:
            self._die(b"protocol error: unexpected <newline>")
        else:
            self._parsed(line)

    def _parsed(self, line: bytes) -> None:
        try:
            record = parse(line)
        except NameRefused as error:
            self._die(b"error: unexpected filename: " + error.name)
        except ProtocolError as error:
            # What a login script wrote before the client's scp began is told as it is.
            stranger = self._first and line[:1] not in {b"C", b"D", b"T"}
            self._die(line if stranger else b"protocol error: " + str(error).encode())
        else:
            if isinstance(record, Times):
                self._times = record
                self._out.client.append(OK)
            else:
                self._entry(record)

    def _entry(self, entry: Entry) -> None:
        times, self._times = self._times, None
        if not entry.folder:
            self._left = entry.size
            self._writer.file(entry, times, self._begin_content)
        elif self._recursive:
            self._writer.enter(entry, times, self._entered)
        else:
            self._die(b"protocol error: received directory without -r")

    def _begin_content(self, opened: bool) -> None:
        if not opened:
            self._answer()
            return
        self._out.client.append(OK)
        self._state = self._take_content
        if not self._left:
            self._end_content()

    def _take_content(self) -> bool:
        piece = bytes(self._data[: self._left])
        del self._data[: len(piece)]
        if piece:
            self._content(piece)
        return bool(piece)

    def _content(self, piece: bytes) -> None:
        self._left -= len(piece)
        self._writer.content(piece)
        if not self._left:
            self._end_content()

    def _end_content(self) -> None:
        self._writer.file_ended()
        self._state = self._take_verdict

    def _take_verdict(self) -> bool:
        """Take what the client says of the file that it has just sent."""
        end = 0 if self._data[:1] == OK else self._data.find(b"\n", 0, MAX_LINE)
        if not self._data or (end < 0 and len(self._data) < MAX_LINE):
            return False
        letter = bytes(self._data[:1])
        del self._data[: MAX_LINE if end < 0 else end + 1]
        self._state = self._take_record
        self._failed |= letter != OK
        if letter not in {OK, b"\x01"}:
            self.exit_code = 1
        else:
            self._answer_when_sure()
        return True

    def _entered(self, there: bool) -> None:
        if there:
            self._out.client.append(OK)
        else:
            self._answer()

    def _end_folder(self) -> None:
        if self._writer.depth:
            self._writer.leave()
            self._answer_when_sure()
        else:  # scp.c takes it for the end
            self._out.client.append(OK)
            self._quit()

    # What the client is told.

    def _answer_when_sure(self) -> None:
        """Acknowledge what the client named itself when the pod has written all of it."""
        if self._writer.depth:
            self._answer()
        else:
            self._writer.sync(self._answer)

    def _answer(self) -> None:
        """Acknowledge, or say what went wrong since the last time."""
        errors = self._writer.errors
        if not errors:
            self._out.client.append(OK)
            return
        while len(errors) > 1 and not self._writer.depth:  # there may be no other answer
            self._out.stderr.append(b"scp: " + errors.popleft() + b"\n")
        self._out.client.append(warning(errors.popleft()))

    def _die(self, text: bytes) -> None:
        self._out.client.append(warning(text))
        self.exit_code = 1

    def _quit(self) -> None:
        self._quits = True
        self._writer.quit()
