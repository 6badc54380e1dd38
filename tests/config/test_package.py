"""What `pip install .` puts on an operator's machine."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOUSE = ("gateway", "kgpud", "store")
NOT_CODE = ("pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    for name in HOUSE:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in NOT_CODE:
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", folder, source], check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


def test_a_wheel_has_every_file_of_the_house(wheel: Path) -> None:
    here = {
        str(path.relative_to(ROOT))
        for name in HOUSE
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith(HOUSE)}
    assert {name for name in packed if not name.startswith("kgpud-")} == here


def test_the_program_runs_from_a_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path)
    # -P and another folder: what is imported is the wheel's, and nothing of this checkout.
    code = "import kgpud.cli, kgpud.daemon; print(kgpud.daemon.__file__); kgpud.cli.main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "manifests"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    where, *printed = done.stdout.splitlines()
    assert where == str(tmp_path / "kgpud" / "daemon.py")
    assert any(line.startswith("kind: NetworkPolicy") for line in printed)
