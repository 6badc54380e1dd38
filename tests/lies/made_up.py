"""Lies that nobody recorded and that a proxy, a bug or a cut cable can tell at any time.

Each is what the server does once it has read the request. `TABLE` says what the user must see:
their output, the exit code, and how kgpud's line begins.
"""

import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.gateway.fake_api import BINARY, CLOSE, SUCCESS, Call, failure, frame, internal_error

Lie = Callable[[Call], Awaitable[None]]

OUTPUT = b"all that it wrote\n"
OTHERS_TRAILER = b"\x1e" + b"0" * 32 + b" 000"
_ENDED = frame(CLOSE, b"\x03\xe8")


def begin(call: Call) -> None:
    call.upgrade()
    call.stdout(OUTPUT)


def trailers(call: Call, code: int) -> None:
    call.stderr(call.trailer(code))
    call.stdout(call.trailer(code))


def reset(call: Call) -> None:
    """End TCP at once: what was not read is lost, and the other side gets an error."""
    sock = call.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    call.writer.transport.abort()


async def garbage_on_channel_3(call: Call) -> None:
    begin(call)
    trailers(call, 0)
    call.end(b"\x1b[31mnot a document")


async def nested_too_deeply(call: Call) -> None:
    begin(call)
    trailers(call, 0)
    call.end(b"[" * 100_000)


async def an_exit_code_of_256(call: Call) -> None:
    begin(call)
    trailers(call, 0)
    call.end(failure(256))


async def success_while_it_runs(call: Call) -> None:
    begin(call)
    call.end(SUCCESS)


async def one_trailer_of_two(call: Call) -> None:
    begin(call)
    call.stdout(call.trailer(0))
    call.end(SUCCESS)


async def a_trailer_of_another_command(call: Call) -> None:
    begin(call)
    call.stderr(OTHERS_TRAILER)
    call.end(SUCCESS)


async def no_status(call: Call) -> None:
    begin(call)
    trailers(call, 0)
    call.writer.write(_ENDED)


async def no_status_at_a_terminal(call: Call) -> None:
    """Recorded after unread stdin, of which a terminal's wrapper reads none: it would eat keys."""
    begin(call)
    call.stdout(call.trailer(0))
    await call.gone()


async def no_end(call: Call) -> None:
    """A proxy that keeps the connection after everything was said."""
    begin(call)
    trailers(call, 3)
    call.end(failure(3), close=False)
    await call.gone()


async def no_end_of_tcp(call: Call) -> None:
    """A proxy that keeps the connection after the close frame."""
    begin(call)
    trailers(call, 3)
    call.end(failure(3))
    await call.gone()


async def cut_at_once(call: Call) -> None:
    call.writer.write(call.switching())


async def cut_in_a_frame_head(call: Call) -> None:
    begin(call)
    trailers(call, 0)
    call.writer.write(frame(BINARY, b"\3" + SUCCESS)[:1])


async def cut_in_a_frame(call: Call) -> None:
    begin(call)
    trailers(call, 0)
    call.writer.write(frame(BINARY, b"\3" + SUCCESS)[:-1])


async def cut_between_the_trailers(call: Call) -> None:
    begin(call)
    call.stderr(call.trailer(0))


async def cut_in_a_trailer(call: Call) -> None:
    begin(call)
    call.stderr(call.trailer(0))
    call.stdout(call.trailer(0)[:-1])
    call.end(SUCCESS)


async def reset_in_mid_stream(call: Call) -> None:
    begin(call)
    await call.writer.drain()
    await call.receive()  # so that the output is read before the reset
    reset(call)


async def a_message_of_a_terabyte(call: Call) -> None:
    begin(call)
    trailers(call, 0)
    call.writer.write(b"\x82\x7f" + struct.pack("!Q", 1 << 40))


async def a_broken_frame_behind_the_output(call: Call) -> None:
    message = frame(BINARY, b"\1" + OUTPUT)
    call.writer.write(call.switching() + message + b"\xff\xff")


async def a_broken_frame_behind_the_status(call: Call) -> None:
    """What was said in whole before counts, however much came in one segment."""
    said = [b"\1" + OUTPUT, b"\2" + call.trailer(4), b"\1" + call.trailer(4), b"\3" + failure(4)]
    whole = b"".join(frame(BINARY, message) for message in said)
    call.writer.write(call.switching() + whole + b"\xff\xff")


async def the_end_of_it_while_stdin_flows(call: Call) -> None:
    """The command did not read its stdin, and the server throws the rest away with the link."""
    begin(call)
    await call.receive()
    trailers(call, 5)
    call.end(failure(5))
    await call.writer.drain()
    call.writer.close()  # with unread data: the kernel sends what is written, then a reset


def _refusal(status: str, body: bytes, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode() + body


async def refused_by_a_firewall(call: Call) -> None:
    call.writer.write(_refusal("403 Forbidden", b""))


async def refused_and_kept_open(call: Call) -> None:
    """No length and no end: how much more is to come, nobody says."""
    call.writer.write(_refusal("502 Bad Gateway", b"upstream is away"))
    await call.gone()


async def refused_in_chunks(call: Call) -> None:
    chunks = b"8\r\nupstream\r\n8\r\n is away\r\n0\r\n\r\n"
    call.writer.write(_refusal("502 Bad Gateway", chunks, "Transfer-Encoding: chunked"))
    await call.gone()


async def refused_with_a_page(call: Call) -> None:
    page = b"<html><head><title>502</title></head>" + b"<p>nginx</p>" * 5000
    call.writer.write(_refusal("502 Bad Gateway", page, f"Content-Length: {len(page)}"))
    await call.gone()


async def refused_with_a_terminal_s_tricks(call: Call) -> None:
    body = b"\x1b]0;owned\x07\x1b[2Jno\r\n\r\nsuch\0 luck\x9b31m \xff" + b"!" * 5000
    call.writer.write(_refusal("500 Oops", body, f"Content-Length: {len(body)}"))


async def broken_with_a_terminal_s_tricks(call: Call) -> None:
    begin(call)
    call.end(internal_error("\\u001b[2Jno\\n\\u009bsuch luck" + "!" * 5000))


async def not_http(call: Call) -> None:
    call.writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")


async def a_head_without_an_end(call: Call) -> None:
    call.writer.write(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000)
    await call.gone()


async def no_answer(call: Call) -> None:
    await call.gone()


@dataclass(frozen=True)
class Row:
    """One lie. `out` and `err` are the user's streams, `stdin` how much they send.

    `tty` has the command run at a terminal.
    """

    lie: Lie
    code: int
    line: str = ""
    out: bytes = OUTPUT
    err: bytes = b""
    stdin: int = 0
    tty: bool = False
    slow: bool = False


_BROKE = "the connection to the pod broke: "
_WORDLESS = _BROKE + "it closed without saying how the command ended"
_MISSING = _BROKE + "the end of the output is missing"
_EARLY = _BROKE + "it closed early"
_COULD_NOT = "the cluster could not run the command: "

TABLE = {
    row.lie.__name__: row
    for row in [
        Row(garbage_on_channel_3, 255, _WORDLESS),
        Row(nested_too_deeply, 255, _WORDLESS),
        Row(an_exit_code_of_256, 255, _WORDLESS),
        Row(success_while_it_runs, 255, _MISSING),
        Row(one_trailer_of_two, 255, _MISSING),
        Row(a_trailer_of_another_command, 255, _MISSING, err=OTHERS_TRAILER),
        Row(no_status, 255, _WORDLESS),
        Row(no_status_at_a_terminal, 255, _WORDLESS, tty=True),
        Row(no_end, 3),
        Row(no_end_of_tcp, 3),
        Row(cut_at_once, 255, _EARLY, b""),
        Row(cut_in_a_frame_head, 255, _EARLY),
        Row(cut_in_a_frame, 255, _EARLY),
        Row(cut_between_the_trailers, 255, _EARLY),
        Row(cut_in_a_trailer, 255, _MISSING),
        Row(reset_in_mid_stream, 255, _BROKE, stdin=1),
        Row(a_message_of_a_terabyte, 255, _BROKE + "the API server sent a message over the limit"),
        Row(a_broken_frame_behind_the_output, 255, _BROKE + "the API server sent a masked frame"),
        Row(a_broken_frame_behind_the_status, 4),
        Row(the_end_of_it_while_stdin_flows, 5, stdin=8_000_000),
        Row(
            refused_by_a_firewall,
            255,
            "the cluster refused the exec: the operator should run `kgpud doctor`",
            b"",
        ),
        Row(refused_and_kept_open, 255, _COULD_NOT + "upstream is away", b""),
        Row(refused_in_chunks, 255, _COULD_NOT + "upstream is away", b""),
        Row(refused_with_a_page, 255, _COULD_NOT + "HTTP 502", b""),
        Row(refused_with_a_terminal_s_tricks, 255, _COULD_NOT, b""),
        Row(broken_with_a_terminal_s_tricks, 255, _COULD_NOT + "Internal error occurred: "),
        Row(not_http, 255, _COULD_NOT + "it closed the connection without an answer", b""),
        Row(a_head_without_an_end, 255, _COULD_NOT + "its answer has no end", b""),
        Row(no_answer, 255, _COULD_NOT + "the API server did not answer in 30 s", b"", slow=True),
    ]
}
