"""Host keys as files: made once, private, rotated in two steps, followed while in use."""

import subprocess
from pathlib import Path

import pytest

from gateway import hostkeys
from gateway.hostkeys import HostKeyRefused, HostKeys


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ssh_host_ed25519_key"


def fingerprint(path: Path) -> str:
    argv = ["ssh-keygen", "-l", "-f", str(path)]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()[1]


def test_the_first_start_makes_a_key_for_its_owner_alone(path: Path) -> None:
    [made] = HostKeys(path).current()
    assert path.stat().st_mode & 0o777 == 0o600
    assert made.fingerprint == fingerprint(path)
    assert made.key_type == "ssh-ed25519"
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert HostKeys(path).current() == [made]


def test_a_rotation_has_two_steps(path: Path) -> None:
    followed = HostKeys(path)
    [old] = followed.current()
    new = hostkeys.announce(path)
    assert hostkeys.successor(path).stat().st_mode & 0o777 == 0o600
    assert followed.current() == [old, new]
    with pytest.raises(HostKeyRefused, match="already"):
        hostkeys.announce(path)
    assert followed.current() == [old, new]
    assert hostkeys.switch(path) == new
    assert followed.current() == [new]
    assert fingerprint(path) == new.fingerprint
    with pytest.raises(HostKeyRefused, match="no successor"):
        hostkeys.switch(path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_unchanged_files_are_the_same_keys(path: Path) -> None:
    followed = HostKeys(path)
    assert followed.current() is followed.current()


@pytest.mark.parametrize("damage", [b"", b"no key", None])
def test_a_damaged_file_changes_nothing_for_who_is_served(path: Path, damage: bytes | None) -> None:
    followed = HostKeys(path)
    keys = followed.current()
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    assert followed.current() == keys


@pytest.mark.parametrize(
    ("host", "port", "name"),
    [
        ("ssh.example.org", 22, "ssh.example.org"),
        ("ssh.example.org", 2222, "[ssh.example.org]:2222"),
        ("2001:db8::1", 22, "2001:db8::1"),
        ("2001:db8::1", 2222, "[2001:db8::1]:2222"),
    ],
)
def test_a_known_hosts_line_is_found_by_openssh(
    path: Path, tmp_path: Path, host: str, port: int, name: str
) -> None:
    [key] = HostKeys(path).current()
    line = key.known_hosts(host, port)
    assert line == f"{name} {key.line}"
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(f"{line}\n")
    argv = ["ssh-keygen", "-F", name, "-f", str(known_hosts)]
    assert key.line in subprocess.run(argv, check=True, capture_output=True, text=True).stdout
