"""A command's output on its way to the sink: the trailers are taken out of it."""

import asyncio

from gateway.outcome import Sink
from gateway.wrapper import TrailerFilter

# The rest of a trailer follows its beginning at once: it was one write.
RELEASE_SECONDS = 0.1
# A pipe takes a trailer in one piece (PIPE_BUF) and gives it so to a reader with room for it, which
# one had that read so little. Whoever cut it up on the way must be close behind.
ROOM, SOON_SECONDS = 4096, 0.005


class Output:
    """Both streams. What could begin a trailer is held back until it is clear that it doesn't.

    A terminal (`tty`) is no pipe: it may cut anything up.
    """

    def __init__(self, nonce: str, sink: Sink, *, tty: bool) -> None:
        self._sink: Sink | None = sink
        self._tty = tty
        self._at_once = False
        self._came = 0
        self._out, self._err = TrailerFilter(nonce), TrailerFilter(nonce)
        self._release: asyncio.TimerHandle | None = None
        self._paused = False

    @property
    def out_code(self) -> int | None:
        """The exit code in stdout's trailer, once that has come."""
        return self._out.code

    @property
    def err_code(self) -> int | None:
        """The exit code in stderr's trailer, once that has come."""
        return self._err.code

    def stdout(self, data: bytes) -> None:
        """Take what came on stdout."""
        self._came = max(self._came, len(data))
        self._pass_stdout(self._out.feed(data))

    def stderr(self, data: bytes) -> None:
        """Take what came on stderr."""
        self._came = max(self._came, len(data))
        self._pass_stderr(self._err.feed(data))

    def taken(self) -> None:
        """Take note that nothing more came with that: what is held is given up unless it does."""
        self._cancel()
        if not (self._out.may_release or self._err.may_release):
            self._came = 0
        elif self._at_once:
            self._give_up()
        elif self._sink and not self._paused:
            in_pieces = self._tty or self._came >= ROOM
            patience = RELEASE_SECONDS if in_pieces else SOON_SECONDS
            self._release = asyncio.get_running_loop().call_later(patience, self._give_up)

    def hold_nothing(self) -> None:
        """Give up at once whatever chance may have made look like a trailer's beginning.

        For a protocol whose answers have lengths: bytes behind the last one harm nobody.
        """
        self._at_once = True
        self.taken()

    def pause(self) -> None:
        """Wait: what should follow is not read."""
        self._paused = True
        self._cancel()

    def resume(self) -> None:
        """Go on."""
        self._paused = False
        self.taken()

    def flush(self) -> None:
        """Pass on all that is held: nothing follows any more."""
        self._cancel()
        self._pass_stdout(self._out.flush())
        self._pass_stderr(self._err.flush())

    def close(self) -> None:
        """Pass nothing on any more."""
        self._cancel()
        self._sink = None

    def _give_up(self) -> None:
        self._release, self._came = None, 0
        if self._out.may_release:
            self._pass_stdout(self._out.release())
        if self._err.may_release:
            self._pass_stderr(self._err.release())

    # Whatever is passed on, the sink may close us in return.

    def _pass_stdout(self, data: bytes) -> None:
        if data and self._sink:
            self._sink.stdout(data)

    def _pass_stderr(self, data: bytes) -> None:
        if data and self._sink:
            self._sink.stderr(data)

    def _cancel(self) -> None:
        if self._release:
            self._release.cancel()
            self._release = None
