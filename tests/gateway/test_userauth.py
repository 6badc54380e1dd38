"""Authentication requests of any bytes: refused, never an error of ours, never a yes."""

from asyncssh.packet import PacketDecodeError, SSHPacket
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway import userauth
from gateway.algorithms import SIGNATURES
from gateway.userauth import AuthRequest

from .doors import asking, make_key
from .raw_client import mpint, string

SESSION_ID = bytes(32)
KEY = make_key()
NAMES = [*SIGNATURES, "ssh-rsa", "ssh-dss", "ssh-ed25519-cert-v01@openssh.com", "null"]

names = st.sampled_from(NAMES).map(str.encode)
numbers = st.one_of(
    st.integers(-(2**2100), 2**2100), st.sampled_from([0, 1, -1, 2**16384, -(2**16384), 65537])
)
fields = st.one_of(numbers.map(mpint), st.binary(max_size=300).map(string), st.binary(max_size=8))
curves = st.sampled_from([b"nistp256", b"nistp384", b"nistp521", b"nistp192", b""])
blobs = st.one_of(
    st.binary(max_size=400),
    st.builds(
        lambda name, rest: string(name) + b"".join(rest), names, st.lists(fields, max_size=5)
    ),
    st.builds(
        lambda name, curve, point, rest: string(name) + string(curve) + string(point) + rest,
        names,
        curves,
        st.binary(max_size=140).map(lambda data: b"\4" + data),
        st.binary(max_size=8),
    ),
)
signatures = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda name, rest: string(name) + b"".join(rest), names, st.lists(fields)),
)


@given(blob=blobs, algorithm=names, signature=signatures)
@settings(max_examples=600, deadline=None)
@example(string(b"ssh-rsa") + mpint(3) + mpint(-(2**2047)), b"rsa-sha2-512", b"")
def test_no_invented_key_verifies(blob: bytes, algorithm: bytes, signature: bytes) -> None:
    request = AuthRequest(
        userauth.USER, userauth.SERVICE, userauth.METHOD, algorithm, blob, b"x", signature
    )
    assert not userauth.verified(request, SESSION_ID)
    named = AuthRequest(
        userauth.USER,
        userauth.SERVICE,
        userauth.METHOD,
        algorithm,
        blob,
        b"x",
        string(algorithm) + signature,
    )
    assert not userauth.verified(named, SESSION_ID)


def request() -> bytes:
    head = asking(KEY.blob, signs=True)
    return head + string(KEY.signature(string(SESSION_ID) + head))


def parsed(data: bytes) -> AuthRequest | None:
    packet = SSHPacket(data)
    packet.get_byte()
    try:
        return userauth.parse(packet)
    except PacketDecodeError:
        return None


def test_a_real_one_verifies() -> None:
    real = parsed(request())
    assert real
    assert real.may_pass
    assert userauth.verified(real, SESSION_ID)
    assert not userauth.verified(real, b"\1" * 32)


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_a_real_one_with_any_change_does_not(data: st.DataObject) -> None:
    real = bytearray(request())
    place = data.draw(st.integers(1, len(real) - 1))
    change = data.draw(st.sampled_from(["flip", "cut", "double", "insert"]))
    if change == "flip":
        real[place] ^= data.draw(st.integers(1, 255))
    elif change == "cut":
        del real[place:]
    elif change == "double":
        real[place:place] = real[place:]
    else:
        real.insert(place, data.draw(st.integers(0, 255)))
    changed = parsed(bytes(real))
    if bytes(real) != request() and changed is not None and changed.may_pass:
        assert not userauth.verified(changed, SESSION_ID)


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_request_or_none(data: bytes) -> None:
    parsed(b"\x32" + data)
