"""Mirrors over SFTP: lftp and rclone."""

import sys
from pathlib import Path

import pytest

from tests.e2e.dev import Pod, output

from .shows import shows
from .trees import NEWLINE, NOT_TEXT, contents, odd_tree


@shows("lftp", "`mirror`, both ways")
def test_lftp(image: Pod, there: str, tmp_path: Path) -> None:
    # It reads names as text and asks at a line's end.
    tree = odd_tree(tmp_path / "tree", without=(NEWLINE, NOT_TEXT))
    ssh = " ".join(["ssh", "-a", "-x", *image.options])
    script = [
        f'set sftp:connect-program "{ssh}"',
        "set net:max-retries 1",
        "set cmd:fail-exit true",
        f"open -u kgpu,none -p {image.port} sftp://{image.dev.env['KGPU_SSH_HOST']}",
        f"mirror -R {tree} {there}/tree",
        f"mirror {there}/tree {tmp_path}/back",
    ]
    output(["lftp", "-c", "; ".join(script)])
    assert contents(tree) == contents(tmp_path / "back")


@pytest.mark.slow
@shows("rclone", "`sync`, both ways")
def test_rclone(image: Pod, there: str, tmp_path: Path) -> None:
    tree = odd_tree(tmp_path / "tree", without=(NOT_TEXT,))  # it has no names but text
    host = f":sftp,host={image.dev.env['KGPU_SSH_HOST']},port={image.port},user=kgpu"
    remote = f"{host},key_file={image.key},known_hosts_file={image.dev.env['KGPU_KNOWN_HOSTS']}"
    program = Path(sys.executable).with_name("rclone")
    rclone = [str(program), "--config", "", "--retries", "1"]
    sync = ["sync", "--create-empty-src-dirs"]
    output([*rclone, *sync, str(tree), f"{remote}:{there}/tree"])
    output([*rclone, *sync, f"{remote}:{there}/tree", str(tmp_path / "back")])
    assert contents(tree) == contents(tmp_path / "back")
