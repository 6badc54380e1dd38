"""Public keys: what OpenSSH itself makes is taken, the rest is refused without being quoted."""

import base64
import contextlib
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import keys

ED25519_BLOB = (
    b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes.fromhex("d75a980182b10ab7d54bfed3c964073a") * 2
)


def keygen(folder: Path, *options: str) -> Path:
    path = folder / "key"
    subprocess.run(
        ["ssh-keygen", "-q", "-N", "", "-C", "me@home", "-f", path, *options],
        check=True,
        capture_output=True,
    )
    return path


def fingerprint(path: Path) -> str:
    told = subprocess.run(["ssh-keygen", "-lf", path], check=True, capture_output=True, text=True)
    return told.stdout.split()[1]


def packed(*strings: bytes) -> str:
    blob = b"".join(struct.pack("!I", len(string)) + string for string in strings)
    return base64.b64encode(blob).decode()


@pytest.mark.parametrize(
    ("options", "algorithm"),
    [
        (["-t", "ed25519"], "ssh-ed25519"),
        (["-t", "ecdsa", "-b", "256"], "ecdsa-sha2-nistp256"),
        (["-t", "ecdsa", "-b", "384"], "ecdsa-sha2-nistp384"),
        (["-t", "ecdsa", "-b", "521"], "ecdsa-sha2-nistp521"),
        (["-t", "rsa", "-b", "2048"], "ssh-rsa"),
        (["-t", "rsa", "-b", "3072"], "ssh-rsa"),
    ],
)
def test_a_key_of_openssh_is_taken(tmp_path: Path, options: list[str], algorithm: str) -> None:
    public = keygen(tmp_path, *options).with_suffix(".pub")
    key = keys.parse(public.read_text())
    assert key == keys.PublicKey(algorithm, public.read_text().strip(), fingerprint(public))


@pytest.mark.parametrize(
    ("algorithm", "parts"),
    [
        ("sk-ssh-ed25519@openssh.com", [ED25519_BLOB[-32:], b"ssh:"]),
        (
            "sk-ecdsa-sha2-nistp256@openssh.com",
            [
                b"nistp256",
                bytes.fromhex(
                    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
                    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
                ),
                b"ssh:",
            ],
        ),
    ],
)
def test_a_hardware_key_is_taken(tmp_path: Path, algorithm: str, parts: list[bytes]) -> None:
    public = tmp_path / "sk.pub"
    public.write_text(f"{algorithm} {packed(algorithm.encode(), *parts)} token\n")
    key = keys.parse(public.read_text())
    assert (key.algorithm, key.fingerprint) == (algorithm, fingerprint(public))


@pytest.mark.parametrize(
    ("given_text", "kept"),
    [
        ("{key}", "{key}"),
        ("{key}\r\n", "{key}"),
        ("  {key}   a  comment \n\n", "{key} a comment"),
        ("{key} Schlüssel für 東京", "{key} Schlüssel für 東京"),
    ],
)
def test_a_line_is_tidied(given_text: str, kept: str) -> None:
    text = "ssh-ed25519 " + base64.b64encode(ED25519_BLOB).decode()
    assert keys.parse(given_text.format(key=text)).line == kept.format(key=text)


def refusal(text: str) -> str:
    with pytest.raises(keys.KeyRefused) as caught:
        keys.parse(text)
    sentence = str(caught.value)
    for word in text.split():
        assert len(word) < 12 or word not in sentence
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return sentence


@pytest.mark.parametrize("options", [["-t", "ed25519"], ["-t", "rsa", "-m", "PEM"]])
def test_a_private_key_is_refused_as_leaked(tmp_path: Path, options: list[str]) -> None:
    assert "private key" in refusal(keygen(tmp_path, *options).read_text())


@pytest.mark.parametrize(
    ("options", "word"), [(["-t", "dsa"], "DSA"), (["-t", "rsa", "-b", "1024"], "2048")]
)
def test_a_weak_key_is_refused(tmp_path: Path, options: list[str], word: str) -> None:
    assert word in refusal(keygen(tmp_path, *options).with_suffix(".pub").read_text())


def test_a_certificate_is_refused(tmp_path: Path) -> None:
    path = keygen(tmp_path, "-t", "ed25519")
    subprocess.run(["ssh-keygen", "-q", "-s", path, "-I", "id", f"{path}.pub"], check=True)
    assert "certificate" in refusal((tmp_path / "key-cert.pub").read_text())


BLOB = base64.b64encode(ED25519_BLOB).decode()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "one line"),
        ("\n", "one line"),
        ("ssh-ed25519", "one line"),
        (f"ssh-ed25519 {BLOB}\nssh-ed25519 {BLOB}", "one line"),
        (f"ssh-ed25519 {BLOB} a\tb", "one line"),
        (f"ssh-ed25519 {BLOB} \x1b[2J", "one line"),
        (f"ssh-ed25519 {BLOB} \0", "one line"),
        (f"restrict ssh-ed25519 {BLOB}", "known type"),
        (f'command="cat /etc/passwd" ssh-ed25519 {BLOB}', "known type"),
        ("correct horse battery staple", "known type"),
        (f"SSH-ED25519 {BLOB}", "known type"),
        ("ssh-ed25519 AAAA!!!!notbase64", "damaged"),
        (f"ssh-ed25519 {BLOB[:-8]}", "damaged"),
        (f"ssh-ed25519 {BLOB}AAAA", "damaged"),
        (f"ssh-ed25519 {packed(b'ssh-ed25519', b'short')}", "damaged"),
        (f"ssh-rsa {packed(b'ssh-rsa', b'', b'')}", "damaged"),
        (f"ssh-rsa {packed(b'ssh-rsa', bytes([1, 0, 1]), bytes([0xC5] * 256))}", "damaged"),
        (f"ssh-rsa {packed(b'ssh-rsa', bytes([0x80]), bytes([0xC5] * 256))}", "damaged"),
        (f"ssh-rsa {BLOB}", ""),
        (f"sk-ssh-ed25519@openssh.com {BLOB}", ""),
    ],
)
def test_anything_else_is_refused(text: str, word: str) -> None:
    assert word in refusal(text)


@settings(deadline=None)
@given(st.data())
def test_a_damaged_blob_never_raises_anything_else(data: st.DataObject) -> None:
    rsa = b"\0\0\0\7ssh-rsa\0\0\0\3\1\0\1\0\0\1\1\0" + b"\xc5" * 256
    name, blob = data.draw(
        st.sampled_from([("ssh-ed25519", ED25519_BLOB), ("ssh-rsa", rsa)]),
    )
    at = data.draw(st.integers(0, len(blob) - 1))
    cut = data.draw(st.integers(0, 8))
    changed = blob[:at] + data.draw(st.binary(max_size=8)) + blob[at + cut :]
    text = f"{name} {base64.b64encode(changed).decode()}"
    with contextlib.suppress(keys.KeyRefused):
        keys.parse(text)


@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with pytest.raises(keys.KeyRefused):
        keys.parse(text)


def test_a_minted_pair_is_openssh_s(tmp_path: Path) -> None:
    minted = keys.mint("r-123")
    private = tmp_path / "minted"
    private.write_text(minted.private_key)
    private.chmod(0o600)
    told = subprocess.run(
        ["ssh-keygen", "-y", "-f", private], check=True, capture_output=True, text=True
    )
    assert told.stdout.strip() == minted.public.line
    assert minted.public.line.endswith(" r-123")
    assert fingerprint(private) == minted.public.fingerprint
    assert minted.private_key.splitlines()[1] not in repr(minted)
