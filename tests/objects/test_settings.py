"""The ``[objects]`` table, and what it costs who has no bucket."""

import subprocess
import sys
from pathlib import Path

import pytest

from kgpud.config import ConfigError, load


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('store = "s3"', 'objects.s3.bucket: is required where objects.store is "s3"'),
        ('store = "r2"', "objects.store: must be 'folder', 's3' or 'none'"),
        ("quota_gb = 0", "objects.quota_gb: must be greater than 0"),
        ("part_mib = 4", "objects.part_mib: must be greater than or equal to 5"),
        ('[objects.folder]\npath = "data"', "objects.folder.path: must be an absolute path"),
        (
            '[objects.s3]\nendpoint = "https://h/bucket"',
            "objects.s3.endpoint: must be http(s)://HOST[:PORT] and nothing more",
        ),
        (
            '[objects.s3]\nprefix = "/"',
            "objects.s3.prefix: must be names of letters, digits, '_' and '-', joined by '/'",
        ),
        ('[objects.s3]\nsecret = "x"', "objects.s3.secret: unknown setting"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "kgpud.toml"
    path.write_text(f"[objects]\n{text}\n")
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert refused.value.problems == [f"{path}: {problem}"]


def test_a_daemon_without_a_bucket_does_not_load_botocore() -> None:
    script = "import sys, kgpud.daemon; sys.exit('botocore' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "kgpud.toml"
    path.write_text(
        f'state = "{tmp_path}/state"\n[http]\nlisten = "127.0.0.1:0"\n'
        f'[ssh]\nlisten = "127.0.0.1:0"\n[cluster]\nkubeconfig = "{tmp_path}/none"\n'
        f'[objects.folder]\npath = "{tmp_path}/file/objects"\n'
    )
    argv = [sys.executable, "-m", "kgpud", "serve", "--config", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "objects" in done.stderr.strip().splitlines()[-1]
