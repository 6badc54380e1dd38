"""Floods of tiny records, from either side: each go works on a slice of them."""

import tarfile
from collections.abc import Callable

import pytest

from gateway.scp import ScpCommand
from gateway.scp_place import Place, read_listing
from gateway.scp_receive import Receiving
from gateway.scp_records import MAX_LINE, STEPS, Outbox
from gateway.scp_send import Sending

# Two steps: its record, and what the client says of it.
FILE = b"C0644 0 a\n\0"


def receiving(*, packs: bool = True) -> tuple[Receiving, Outbox]:
    """Be in a folder that is being uploaded."""
    out = Outbox()
    talk = Receiving(ScpCommand("t", b"x", recursive=True), Place(b"x", b"folder", 0, packs), out)
    talk.from_client(b"D0755 0 d\n")
    talk.from_pod(b"+new\n")
    return talk, out


def shares(talk: Receiving | Sending, count: Callable[[], int]) -> list[int]:
    """Return how much was said in each go, until nothing is left."""
    found = [count()]
    while talk.more:
        talk.go_on()
        found.append(count())
    return found


@pytest.mark.parametrize("packs", [True, False])
def test_an_upload_s_records(packs: bool) -> None:
    talk, out = receiving(packs=packs)
    out.take()
    talk.from_client(FILE * 1000)
    said = shares(talk, lambda: len(b"".join(out.take().client)))
    assert (sum(said), max(said)) == (2 * 1000, STEPS)


def test_what_an_upload_s_pod_says() -> None:
    talk, out = receiving()
    out.take()
    talk.from_pod(b"what\n" * 1000)
    said = shares(talk, lambda: len(out.take().stderr))
    assert (sum(said), max(said)) == (1000, STEPS)


@pytest.mark.parametrize("record", [b"!no\0", b"F81a4 0 1 1 x\0.\0"])
def test_a_download_s_records(record: bytes) -> None:
    out = Outbox()
    talk = Sending(ScpCommand("f", b"x"), out)
    talk.from_client(bytes(MAX_LINE))
    talk.from_pod(record * 1000)
    said = shares(talk, lambda: len(out.take().client))
    assert sum(said) >= 1000
    assert max(said) <= STEPS


def test_headers_of_a_download_that_no_file_follows() -> None:
    info = tarfile.TarInfo("x")
    info.pax_headers = {"comment": "x"}
    header = info.tobuf(tarfile.PAX_FORMAT)[: 2 * 512]
    talk = Sending(ScpCommand("f", b"x"), Outbox())
    talk.from_client(b"\0")
    talk.from_pod(b"f\0" + header * 1000)
    goes = len(shares(talk, lambda: 0))
    assert goes >= 1000 // STEPS
    assert talk.exit_code is None


def test_what_a_download_s_tools_complain_about() -> None:
    out = Outbox()
    talk = Sending(ScpCommand("f", b"x"), out)
    talk.pod_complained(b"what\n" * 1000)
    said = shares(talk, lambda: len(out.take().stderr))
    assert (sum(said), max(said)) == (1000, STEPS)
    talk.pod_complained(b"no end " * 1000)
    assert len(talk._said) == MAX_LINE


def test_who_acknowledges_more_than_was_sent_has_to_wait() -> None:
    talk = Sending(ScpCommand("f", b"x"), Outbox())
    talk.from_client(bytes(MAX_LINE + 1))
    assert not talk.holds_client  # one has begun it all
    talk.from_client(b"\0")
    assert talk.holds_client


def test_a_listing_without_an_end() -> None:
    talk, _ = receiving(packs=True)
    talk.from_client(b"E\nD0755 0 e\n")
    talk.from_pod(b"=\n+old\n")
    for _ in range(3):
        talk.from_pod((b"f644 " + b"x" * 2000 + b"\0") * 500)
        shares(talk, lambda: 0)
    assert talk.exit_code == 1


@pytest.mark.parametrize("mode", [b"9", b"", b"-1", b"7" * 5000])
def test_a_listing_that_lies_is_not_trusted(mode: bytes) -> None:
    assert read_listing(b"f644 x\0d%s y\0" % mode, preserve=False) is None


def test_a_listing_of_more_than_can_be_read_at_once() -> None:
    names = [b"f644 %d\0" % number for number in range(20_001)]
    known = read_listing(b"".join(names[1:]), preserve=True)
    assert known is not None
    assert (len(known), known[b"7"]) == (20_000, (b"f", 0o644))
    assert read_listing(b"".join(names), preserve=True) is None


def test_an_end_waits_for_what_came_before() -> None:
    talk, out = receiving()
    talk.from_client(b"E\nE\n")
    talk.from_pod(b"=0\n=\n" + b"what\n" * STEPS + b"!x: it failed late\n")
    talk.pod_ended(0)
    shares(talk, lambda: 0)
    assert talk.exit_code == 1
    assert b"".join(out.take().client).endswith(b"\0")
