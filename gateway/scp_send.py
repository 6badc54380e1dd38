"""`scp -f`: the conversation with a client that takes files, as scp.c's `source` holds it.

The pod sends everything in one stream; the client acknowledges each file. In between the pod waits.
"""

from collections import deque
from collections.abc import Callable

from gateway import scp_tar
from gateway.scp import ScpCommand
from gateway.scp_read import Broken, Closed, Content, Event, Left, Opened, Reader, Said
from gateway.scp_records import MAX_LINE, OK, Outbox, entry_line, times_line, warning, whole_slice

_MAX_ERRORS = 16

# What an acknowledgement is waited for to do; True is a good one.
_Then = Callable[[bool], None]


class Sending:
    """The conversation, without I/O. What it says goes to `out`; `exit_code` ends it."""

    def __init__(self, command: ScpCommand, out: Outbox) -> None:
        self.exit_code: int | None = None
        self.more = False
        self._preserve = command.preserve
        self._out = out
        self._reader = Reader()
        self._data = bytearray()
        self._eof = False
        self._said = bytearray()
        self._errors: deque[bytes] = deque()
        self._failed = False
        self._pod_code: int | None = None
        # What to do with the client's next acknowledgement; the first begins it all.
        self._then: _Then | None = lambda _: None
        self._in_file = False
        self._skips_file = False
        self._skipped_depth = 0

    @property
    def holds_client(self) -> bool:
        """Whether the client has acknowledged more than it was sent."""
        return len(self._data) > MAX_LINE

    @property
    def holds_pod(self) -> bool:
        """Whether the pod has to wait for the client."""
        return self._then is not None and not self._reader.idle

    # What happens.

    def from_client(self, data: bytes) -> None:
        """Take acknowledgements."""
        self._data += data
        self.go_on()

    def client_ended(self) -> None:
        """Take the client's end-of-file."""
        self._eof = True
        self.go_on()

    def from_pod(self, data: bytes) -> None:
        """Take what the pod sends."""
        self._reader.feed(data)
        self.go_on()

    def pod_complained(self, data: bytes) -> None:
        """Take what the pod's tools say on stderr: tar's errors are scp's."""
        self._said += data
        self.go_on()

    def pod_ended(self, code: int) -> None:
        """Take the end of the pod's side."""
        self._pod_code = code
        self.go_on()

    # The conversation.

    def go_on(self) -> None:
        """Work on what has come, a slice of it."""
        self.more = whole_slice(self._step)

    def _step(self) -> bool:
        if self.exit_code is not None:
            return False
        if self._take_complaint():
            return True
        return self._take_answer() if self._then else self._take_event()

    def _take_complaint(self) -> bool:
        end = self._said.find(b"\n")
        if end < 0:
            del self._said[:-MAX_LINE]
            return False
        line = bytes(self._said[:end])
        del self._said[: end + 1]
        if not line.startswith(b"tar: "):
            self._out.stderr.append(line + b"\n")
        elif said := scp_tar.complaint(line):
            self._note(b": ".join(said))
        return True

    def _take_answer(self) -> bool:
        """Read one acknowledgement, as scp.c's `response`."""
        letter = bytes(self._data[:1])
        end = 0 if letter == OK else self._data.find(b"\n", 0, MAX_LINE)
        if not letter or (end < 0 and len(self._data) < MAX_LINE):
            if self._eof:
                self.exit_code = 1
            return False
        del self._data[: MAX_LINE if end < 0 else end + 1]
        then, self._then = self._then, None
        self._failed |= letter != OK
        if letter not in {OK, b"\x01"}:
            self.exit_code = 1
        elif then:
            then(letter == OK)
        return True

    def _take_event(self) -> bool:
        try:
            event = self._reader.next()
        except Broken:
            self._die(b"the pod's side of the copy wrote nonsense")
            return False
        if not self._in_file:
            self._tell_errors()
        if event is not None:
            self._handle(event)
        elif self._pod_code is not None:
            self._end(self._pod_code)
        return event is not None

    def _handle(self, event: Event) -> None:
        if isinstance(event, Content):
            if not self._skips_file:
                self._out.client.append(event.data)
        elif isinstance(event, Opened):
            self._opened(event)
        elif isinstance(event, Closed):
            self._closed(event)
        elif isinstance(event, Said):
            if not self._skipped_depth:
                self._note(event.text)
                self._tell_errors()
        elif isinstance(event, Left):
            self._left()

    def _opened(self, event: Opened) -> None:
        folder = event.entry.folder
        self._in_file = not folder
        if self._skipped_depth:
            self._skipped_depth += folder
            self._skips_file = not folder
            return

        def accepted(ok: bool) -> None:
            self._skipped_depth = int(folder and not ok)
            self._skips_file = not folder and not ok

        def announce(ok: bool) -> None:
            if ok:
                self._out.client.append(entry_line(event.entry))
                self._then = accepted
            else:
                accepted(False)

        if self._preserve:
            self._out.client.append(times_line(event.times))
            self._then = announce
        else:
            announce(True)

    def _closed(self, event: Closed) -> None:
        self._in_file = False
        if self._skips_file:
            self._skips_file = False
            return
        self._failed |= event.error is not None
        self._out.client.append(OK if event.error is None else warning(event.error))
        self._then = lambda _: None

    def _left(self) -> None:
        if self._skipped_depth:
            self._skipped_depth -= 1
            return
        self._out.client.append(b"E\n")
        self._then = lambda _: None

    def _end(self, code: int) -> None:
        if self._reader.between:
            self.exit_code = 1 if self._failed or code else 0
        else:
            self._die(b"the pod's side of the copy ended early")
            self.exit_code = code or 1

    # What is said.

    def _note(self, error: bytes) -> None:
        self._failed = True
        if len(self._errors) < _MAX_ERRORS:
            self._errors.append(error)
        else:
            self._out.stderr.append(b"scp: " + error + b"\n")

    def _tell_errors(self) -> None:
        """Between files an error needs no acknowledgement."""
        while self._errors:
            self._out.client.append(warning(self._errors.popleft()))

    def _die(self, text: bytes) -> None:
        """End without a word of the protocol: in mid-file the client would take it for content."""
        self._out.stderr.append(b"scp: " + text + b"\n")
        self.exit_code = 1
