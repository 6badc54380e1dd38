"""scp in both of its protocols: SFTP, which it has spoken by itself since 9.0, and `-O`."""

import subprocess
from pathlib import Path

import pytest

from tests.e2e.dev import Pod

from .shows import shows
from .trees import NEWLINE, listed, odd_tree

BOTH = pytest.mark.parametrize("option", ["-s", "-O"])


def scp(image: Pod, *words: str) -> subprocess.CompletedProcess[bytes]:
    places = [word.replace("POD:", f"{image.where}:") for word in words]
    argv = ["scp", *image.options, "-P", image.port, *places]
    return subprocess.run(argv, capture_output=True, timeout=60)


@shows("scp | scp -O", "a tree of odd files, both ways")
@BOTH
def test_a_tree(image: Pod, there: str, tmp_path: Path, option: str) -> None:
    """In the old protocol the client writes a newline in a name as ``\\^J``, whoever listens."""
    tree = odd_tree(tmp_path / "tree", without=(NEWLINE,) if option == "-O" else ())
    for words in ((str(tree), f"POD:{there}/tree"), (f"POD:{there}/tree", f"{tmp_path}/back")):
        done = scp(image, option, "-r", "-p", *words)
        assert (done.returncode, done.stderr) == (0, b"")
    assert listed(tree) == listed(tmp_path / "back")


@shows("scp | scp -O", "several files, patterns, names with spaces")
@BOTH
def test_several(image: Pod, there: str, tmp_path: Path, option: str) -> None:
    (tmp_path / "one file").write_text("1")
    (tmp_path / "two").write_text("2")
    (tmp_path / "back").mkdir()
    up = [str(tmp_path / "one file"), str(tmp_path / "two")]
    assert scp(image, option, *up, f"POD:{there}/").returncode == 0
    name = "one file" if option == "-s" else "one\\ file"
    for source in (f"POD:{there}/{name}", f"POD:{there}/t?o"):
        assert scp(image, option, source, str(tmp_path / "back")).returncode == 0
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == ["one file", "two"]


@shows("scp | scp -O", "what went wrong is said, and is no success")
@BOTH
def test_failures(image: Pod, there: str, tmp_path: Path, option: str) -> None:
    (tmp_path / "x").write_bytes(bytes(200_000))
    for words, why in (
        ((f"POD:{there}/missing", str(tmp_path / "y")), b"o such file or directory"),
        ((str(tmp_path / "x"), f"POD:{there}/missing/x"), b"o such file or directory"),
        ((str(tmp_path / "x"), "POD:/dev/full"), b"/dev/full"),  # a disk that is full
    ):
        done = scp(image, option, *words)
        assert done.returncode == 1
        assert why in done.stderr
    assert not (tmp_path / "y").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("option", ["-O", "-s"])
@pytest.mark.parametrize("name", ["pod", "bare"])
def test_thousands_of_files(
    name: str, option: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    image: Pod = request.getfixturevalue(name)
    tree = tmp_path / "tree"
    for folder in range(30):
        (tree / str(folder)).mkdir(parents=True)
        for file in range(100):
            (tree / str(folder) / str(file)).write_text(f"{folder} {file}")
    argv = ["scp", option, "-r", "-p", "-q", *image.options, "-P", image.port]
    there = f"{image.where}:/workspace/many{option}"
    subprocess.run([*argv, str(tree), there], check=True, timeout=280)
    subprocess.run([*argv, there, str(tmp_path / "back")], check=True, timeout=280)
    assert listed(tree) == listed(tmp_path / "back")
