"""Who gets in: only the key that signed decides, whatever else a client says meanwhile."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, padding, rsa
from structlog.testing import capture_logs

from gateway.algorithms import SIGNATURES
from gateway.keys import fingerprint

from .doors import Door, Key, asking, door, make_key, signed
from .raw_client import (
    CHANNEL_CLOSE,
    CHANNEL_CONFIRMED,
    CHANNEL_REFUSED,
    DISCONNECT,
    IGNORE,
    KEXINIT,
    REQUEST_FAILURE,
    USERAUTH_FAILURE,
    USERAUTH_PK_OK,
    USERAUTH_SUCCESS,
    Closed,
    RawClient,
    channel_open,
    global_request,
    mpint,
    session_open,
    string,
    strings,
)

SUCCESS = bytes([USERAUTH_SUCCESS])
# What some normal forms of Unicode make "kgpu" of.
FULL_WIDTH = "\uff4b\uff47\uff50\uff55".encode()
FAILURE = bytes([USERAUTH_FAILURE]) + string(b"publickey") + b"\0"


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Door]:
    async with door(tmp_path) as opened:
        yield opened


@pytest.fixture
async def a(front: Door) -> Key:
    return pinned(front, "rental-a")


@pytest.fixture
async def b(front: Door) -> Key:
    return pinned(front, "rental-b")


def pinned(front: Door, rental: str) -> Key:
    key = make_key()
    front.core.rentals[key.name] = rental
    return key


async def leads_to(front: Door, client: RawClient) -> str:
    """Open a session and return whose it was."""
    await client.open_session()
    return front.core.opened_by[-1].rental


async def said(client: RawClient, *requests: bytes) -> list[bytes]:
    """Send requests in one piece; return an answer to each."""
    for request in requests:
        client.put(request)
    await client.flush()
    return [await client.receive() for _ in requests]


async def test_the_key_that_signs_gets_in(front: Door, a: Key) -> None:
    async with RawClient.ready(front.port) as client:
        assert await said(client, signed(client, a)) == [SUCCESS]
        assert await leads_to(front, client) == "rental-a"
        assert client.banners == []
    [opened] = front.core.opened_by
    assert (opened.fingerprint, opened.peer, opened.client) == (a.name, "127.0.0.1", "raw")


async def test_probing_one_key_and_signing_with_another_opens_the_signer_s(
    front: Door, a: Key, b: Key
) -> None:
    async with RawClient.ready(front.port) as client:
        ok = bytes([USERAUTH_PK_OK]) + string(b"ssh-ed25519") + string(a.blob)
        assert await said(client, asking(a.blob)) == [ok]
        assert await said(client, signed(client, b)) == [SUCCESS]
        assert await leads_to(front, client) == "rental-b"


async def test_pipelined_requests_are_answered_one_after_the_other(
    front: Door, a: Key, b: Key
) -> None:
    stranger = make_key()
    async with RawClient.ready(front.port) as client:
        answers = await said(
            client, asking(a.blob), signed(client, stranger), asking(b.blob), signed(client, b)
        )
        assert [answer[0] for answer in answers] == [
            USERAUTH_PK_OK,
            USERAUTH_FAILURE,
            USERAUTH_PK_OK,
            USERAUTH_SUCCESS,
        ]
        assert await leads_to(front, client) == "rental-b"


async def test_what_is_pipelined_behind_the_right_signature_changes_nothing(
    front: Door, a: Key, b: Key
) -> None:
    async with RawClient.ready(front.port) as client:
        client.put(signed(client, a))
        client.put(signed(client, b))
        client.put(asking(b.blob))
        await client.flush()
        assert await client.receive() == SUCCESS
        assert await leads_to(front, client) == "rental-a"
        # RFC 4252, 5.1: after any other message it is an error.
        await client.send(signed(client, b))
        assert "after authentication" in await client.ends()
    assert {session.rental for session in front.core.opened_by} == {"rental-a"}


async def test_a_channel_pipelined_behind_the_signature_is_the_signer_s(
    front: Door, a: Key, b: Key
) -> None:
    async with RawClient.ready(front.port) as client:
        client.put(asking(b.blob))
        client.put(signed(client, a))
        client.put(session_open())
        await client.flush()
        assert (await client.receive())[0] == USERAUTH_PK_OK
        assert await client.receive() == SUCCESS
        assert (await client.receive())[0] == CHANNEL_CONFIRMED
        assert await leads_to(front, client) == "rental-a"


@pytest.mark.parametrize("user", [b"root", b"", b"KGPU", b"kgpu\0", FULL_WIDTH, b"\xff"])
async def test_only_kgpu_gets_in(front: Door, a: Key, user: bytes) -> None:
    async with RawClient.ready(front.port) as client:
        assert await said(client, asking(a.blob, user=user)) == [FAILURE]
        assert await said(client, signed(client, a, user=user)) == [FAILURE]
        # A key is not even looked for.
        assert front.core.asked == []
        (banner,) = client.banners
        assert b"log in as kgpu" in banner


async def test_the_user_switched_in_between(front: Door, a: Key) -> None:
    async with RawClient.ready(front.port) as client:
        assert (await said(client, asking(a.blob)))[0][0] == USERAUTH_PK_OK
        as_root = signed(client, a, user=b"root")
        assert await said(client, as_root) == [FAILURE]
        # What was signed for root, sent for kgpu.
        forged = as_root.replace(string(b"root"), string(b"kgpu"), 1)
        assert await said(client, forged) == [FAILURE]
        assert await said(client, signed(client, a)) == [SUCCESS]


async def test_a_signature_must_be_this_key_s_over_this_session(
    front: Door, a: Key, b: Key
) -> None:
    async with (
        RawClient.ready(front.port) as client,
        RawClient.ready(front.port) as other,
    ):
        request = asking(a.blob, signs=True)
        mine = string(client.session_id) + request
        forgeries = [
            signed(other, a),
            request + string(b.signature(mine)),
            request + string(a.signature(request)),
            request + string(a.signature(mine)[:-1]),
            request + string(a.signature(mine)[:-1] + bytes([a.signature(mine)[-1] ^ 1])),
            request + string(string(b"ssh-ed25519") + string(b"")),
            request + string(string(b"ssh-rsa") + a.signature(mine)[15:]),
            request + string(b""),
        ]
        assert await said(client, *forgeries) == [FAILURE] * len(forgeries)
        assert await said(client, signed(client, a)) == [SUCCESS]


async def test_other_services_are_refused(front: Door, a: Key) -> None:
    async with RawClient.ready(front.port) as client:
        assert await said(client, signed(client, a, service=b"ssh-other")) == [FAILURE]
        with pytest.raises(Closed):
            await client.ask_for(b"ssh-connection")


@pytest.mark.parametrize(
    "method",
    [
        b"none",
        b"password",
        b"keyboard-interactive",
        b"hostbased",
        b"gssapi-with-mic",
        b"gssapi-keyex",
        b"",
        b"\xff",
    ],
)
async def test_nothing_but_keys_is_offered(front: Door, a: Key, method: bytes) -> None:
    async with RawClient.ready(front.port) as client:
        head = b"\x32" + string(b"kgpu") + string(b"ssh-connection") + string(method)
        for rest in (b"", b"\0" + string(b"secret"), string(b"") * 2, b"\xff" * 40):
            assert await said(client, head + rest) == [FAILURE]
        assert front.core.asked == []
        assert await said(client, signed(client, a)) == [SUCCESS]


@pytest.mark.parametrize(
    "message",
    [
        session_open(),
        channel_open(b"direct-tcpip", string(b"127.0.0.1"), bytes(4), string(b""), bytes(4)),
        global_request(b"tcpip-forward", string(b""), bytes(4)),
        global_request(b"hostkeys-prove-00@openssh.com"),
        bytes([98]) + bytes(4) + string(b"exec") + b"\1" + string(b"id"),
        bytes([USERAUTH_SUCCESS]),
        bytes([USERAUTH_PK_OK]) + string(b"x"),
        bytes([61]) + bytes(4),
        # A key exchange, which strict clients don't begin here.
        bytes([KEXINIT]) + bytes(16) + string(b"x") * 10 + bytes(5),
        b"\x32" + b"\0\0",
    ],
)
async def test_messages_before_authentication_end_the_connection(
    front: Door, a: Key, message: bytes
) -> None:
    async with RawClient.ready(front.port) as client:
        assert (await said(client, asking(a.blob)))[0][0] == USERAUTH_PK_OK
        await client.send(message)
        await client.ends()
    assert front.core.opened_by == []


async def test_a_request_before_the_service_s_ends_the_connection(front: Door, a: Key) -> None:
    async with RawClient.connected(front.port) as client:
        await client.exchange_keys()
        await client.send(signed(client, a))
        assert await client.ends()
    assert front.core.asked == []


async def test_strict_key_exchange_takes_no_stray_message(front: Door) -> None:
    async with RawClient.connected(front.port) as client:
        with pytest.raises(Closed, match="Strict"):
            await client.exchange_keys(before_newkeys=bytes([IGNORE]) + string(b""))
            await client.receive()


async def test_the_eleventh_key_is_one_too_many(front: Door, a: Key) -> None:
    async with RawClient.ready(front.port) as client:
        probes = [asking(make_key().blob) for _ in range(10)]
        assert await said(client, *probes) == [FAILURE] * 10
        await client.send(signed(client, a))
        assert await client.ends() == "Too many authentication failures"


async def test_asking_for_nothing_is_free_once(front: Door, a: Key) -> None:
    nothing = b"\x32" + string(b"kgpu") + string(b"ssh-connection") + string(b"none")
    async with RawClient.ready(front.port) as client:
        assert await said(client, *[nothing] * 11) == [FAILURE] * 11
        await client.send(nothing)
        assert await client.ends() == "Too many authentication failures"
    async with RawClient.ready(front.port) as client:
        assert await said(client, nothing, signed(client, a)) == [FAILURE, SUCCESS]


async def test_what_a_client_calls_itself_is_made_printable(front: Door, a: Key) -> None:
    async with RawClient.ready(front.port, b"SSH-2.0-x\x1b[31m\t" + b"y" * 200) as client:
        assert await said(client, signed(client, a)) == [SUCCESS]
        await leads_to(front, client)
    assert front.core.opened_by[0].client == "x?[31m?" + "y" * 200


async def test_a_key_that_was_replaced_meanwhile_leaves_no_connection_behind(
    front: Door, a: Key
) -> None:
    """Nobody knew, when it was replaced, that somebody was about to be let in with it."""
    async with RawClient.ready(front.port) as client:
        assert await said(client, signed(client, a)) == [SUCCESS]
        del front.core.rentals[a.name]
        assert await client.open_session() == b"kgpud: this key no longer opens the rental\n"
        while (await client.receive())[0] != CHANNEL_CLOSE:
            pass
        await client.send(bytes([CHANNEL_CLOSE]) + bytes(4))
        assert await client.ends() == "this key no longer opens the rental"
    [closed] = front.core.closed_by
    assert (closed.exit_status, closed.reason) == (255, "key_refused")


async def test_a_lookup_that_breaks_is_told_logged_and_hurts_nobody_else(
    front: Door, a: Key
) -> None:
    async with RawClient.ready(front.port) as inside, RawClient.ready(front.port) as client:
        assert await said(inside, signed(inside, a)) == [SUCCESS]
        front.core.broken = True
        with capture_logs() as logs:
            await client.send(signed(client, a))
            assert "can't be looked up" in await client.ends()
        assert [entry["event"] for entry in logs] == ["ssh.key_lookup_failed"]
        front.core.broken = False
        assert await leads_to(front, inside) == "rental-a"


# Keys of other kinds. `everybody`: as if somebody had pinned whatever is shown.


def rsa_blob(key: rsa.RSAPrivateKey) -> bytes:
    numbers = key.public_key().public_numbers()
    return string(b"ssh-rsa") + mpint(numbers.e) + mpint(numbers.n)


def rsa_signed(
    client: RawClient, key: rsa.RSAPrivateKey, algorithm: bytes, named: bytes | None = None
) -> bytes:
    request = asking(rsa_blob(key), algorithm=algorithm, signs=True)
    named = named or algorithm
    kinds: dict[bytes, hashes.HashAlgorithm] = {
        b"rsa-sha2-512": hashes.SHA512(),
        b"rsa-sha2-256": hashes.SHA256(),
    }
    kind = kinds.get(named, hashes.SHA1())
    signature = key.sign(string(client.session_id) + request, padding.PKCS1v15(), kind)
    return request + string(string(named) + string(signature))


async def test_rsa_signs_with_sha2_alone(front: Door) -> None:
    key = rsa.generate_private_key(65537, 2048)
    front.core.rentals[fingerprint(rsa_blob(key))] = "rental-rsa"
    for algorithm in (b"rsa-sha2-512", b"rsa-sha2-256"):
        async with RawClient.ready(front.port) as client:
            assert await said(client, rsa_signed(client, key, algorithm)) == [SUCCESS]
            assert await leads_to(front, client) == "rental-rsa"
    async with RawClient.ready(front.port) as client:
        assert (
            await said(
                client,
                asking(rsa_blob(key), algorithm=b"ssh-rsa"),
                rsa_signed(client, key, b"ssh-rsa"),
                rsa_signed(client, key, b"rsa-sha2-512", named=b"ssh-rsa"),
                rsa_signed(client, key, b"rsa-sha2-512", named=b"rsa-sha2-256"),
                rsa_signed(client, key, b"rsa2048-sha256"),
            )
            == [FAILURE] * 5
        )


async def test_weak_keys_are_refused_even_if_pinned(front: Door) -> None:
    front.core.everybody = "rental-weak"
    small = rsa.generate_private_key(65537, 1024)
    old = dsa.generate_private_key(1024)
    numbers = old.public_key().public_numbers()
    group = numbers.parameter_numbers
    parts = [mpint(n) for n in (group.p, group.q, group.g, numbers.y)]
    blob = string(b"ssh-dss") + b"".join(parts)
    request = asking(blob, algorithm=b"ssh-dss", signs=True)
    async with RawClient.ready(front.port) as client:
        signature = old.sign(string(client.session_id) + request, hashes.SHA1())
        assert (
            await said(
                client,
                rsa_signed(client, small, b"rsa-sha2-512"),
                request + string(string(b"ssh-dss") + string(signature)),
            )
            == [FAILURE] * 2
        )


@pytest.mark.parametrize(
    ("e", "n"),
    [
        (65537, -(2**2047) - 1),
        (-3, 2**2048 - 1),
        (0, 0),
        (1, 1),
        (2**70_000, 2**2048 - 1),
        (65537, 2**200_000 + 1),
        (65537, 2**2048),
    ],
    # They are too long to print.
    ids=range(7),
)
async def test_impossible_rsa_numbers_end_nothing(front: Door, e: int, n: int) -> None:
    front.core.everybody = "rental-odd"
    blob = string(b"ssh-rsa") + mpint(e) + mpint(n)
    request = asking(blob, algorithm=b"rsa-sha2-512", signs=True)
    forged = request + string(string(b"rsa-sha2-512") + string(b"\1" * 256))
    real = make_key()
    with capture_logs() as logs:
        async with RawClient.ready(front.port) as client:
            assert await said(client, forged) == [FAILURE]
            assert await said(client, signed(client, real)) == [SUCCESS]
    assert [entry for entry in logs if entry["log_level"] != "info"] == []


async def test_certificates_are_not_taken(front: Door) -> None:
    front.core.everybody = "rental-cert"
    name = b"ssh-ed25519-cert-v01@openssh.com"
    key = make_key()
    blob = string(name) + string(bytes(32)) + key.blob[15:]
    async with RawClient.ready(front.port) as client:
        for algorithm in (name, b"ssh-ed25519"):
            request = asking(blob, algorithm=algorithm, signs=True)
            forged = request + string(key.signature(string(client.session_id) + request))
            assert await said(client, forged) == [FAILURE]


async def test_clients_are_told_what_keys_may_sign_with(front: Door) -> None:
    async with RawClient.ready(front.port) as client:
        told = client.extensions[b"server-sig-algs"].decode().split(",")
    assert set(told) == set(SIGNATURES)
    assert "ssh-rsa" not in told


async def test_compression_is_not_offered(front: Door) -> None:
    async with RawClient.ready(front.port) as client:
        assert client.offers[6:8] == [["none"], ["none"]]
        assert client.offers[1] == ["ssh-ed25519"]


@pytest.mark.parametrize(
    ("kind", "rest"),
    [
        (b"direct-tcpip", string(b"127.0.0.1") + bytes(4) + string(b"1.2.3.4") + bytes(4)),
        (b"direct-streamlocal@openssh.com", string(b"/run/x") + string(b"") + bytes(4)),
        (b"tun@openssh.com", b"\0\0\0\1" + b"\xff" * 4),
        (b"tun@openssh.com", b"\0\0\0\2" + b"\xff" * 4),
        (b"x11", string(b"127.0.0.1") + bytes(4)),
        (b"auth-agent@openssh.com", b""),
        (b"forwarded-tcpip", string(b"") + bytes(4) + string(b"") + bytes(4)),
        (b"no-such-kind", b""),
    ],
)
async def test_no_other_channel_opens(front: Door, a: Key, kind: bytes, rest: bytes) -> None:
    async with RawClient.ready(front.port) as client:
        assert await said(client, signed(client, a)) == [SUCCESS]
        [answer] = await said(client, channel_open(kind, rest))
        assert answer[0] == CHANNEL_REFUSED
        reason = strings(answer[9:])[0]
        if kind.startswith((b"direct", b"tun")):
            assert (answer[5:9], reason) == (bytes([0, 0, 0, 1]), b"forwarding is disabled here")
        assert await leads_to(front, client) == "rental-a"


@pytest.mark.parametrize(
    ("name", "rest"),
    [
        (b"tcpip-forward", string(b"0.0.0.0") + bytes(4)),
        (b"streamlocal-forward@openssh.com", string(b"/run/x")),
        (b"no-such-request", b""),
    ],
)
async def test_no_listener_opens(front: Door, a: Key, name: bytes, rest: bytes) -> None:
    async with RawClient.ready(front.port) as client:
        assert await said(client, signed(client, a)) == [SUCCESS]
        assert await said(client, global_request(name, rest)) == [bytes([REQUEST_FAILURE])]
        assert await leads_to(front, client) == "rental-a"


@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"SSH-1.5-old\r\n",
        b"SSH-2.0-\xff\xfe\r\n",
        b"SSH-2.0-x\r\n" + b"\xff" * 64,
        b"x" * 100_000,
        b"SSH-2.0-" + b"x" * 1000 + b"\r\n",
        hashlib.sha512(b"noise").digest() * 50 + b"\n",
        bytes([DISCONNECT]) * 3,
    ],
)
async def test_noise_instead_of_ssh_harms_nobody(front: Door, a: Key, noise: bytes) -> None:
    async with RawClient.ready(front.port) as inside:
        assert await said(inside, signed(inside, a)) == [SUCCESS]
        with capture_logs() as logs:
            async with RawClient.connected(front.port, b"") as client:
                client.send_bare(noise)
                with pytest.raises(Closed):
                    client._reader.feed_eof() if noise.startswith(b"\x01") else None
                    await client._receive()
        assert [entry for entry in logs if entry["log_level"] in ("error", "critical")] == []
        assert await leads_to(front, inside) == "rental-a"
