"""What operators copy from the documents: that it is there, and that it does what it says."""

import dataclasses
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from kgpud.cli import main
from kgpud.cluster.client import Cluster
from kgpud.config import Config

from .installing import KUBECTL, Installed

ROOT = Path(__file__).parents[2]
GUIDE, MAP, README = (
    ROOT / name for name in ("docs/operator.md", "docs/architecture.md", "README.md")
)
K3S, IMAGE = ROOT / "config" / "k3s", ROOT / "config" / "image"


def first_commands(document: Path, heading: str) -> str:
    after = document.read_text().split(f"\n## {heading}\n", 1)[1]
    return after.split("```sh\n", 1)[1].split("```", 1)[0]


def test_readme_and_guide_have_the_same_ten_commands() -> None:
    commands = first_commands(README, "On your cluster")
    assert commands == first_commands(GUIDE, "From a bare Ubuntu machine to the first rental")
    assert len(commands.splitlines()) == 10


def test_every_file_link_and_command_that_is_named_is_there() -> None:
    documents = [README, ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md")]
    assert len(documents) > 6
    for document in documents:
        # The API's table names tests, and has a test of its own.
        text = document.read_text().partition("\n## What shows it\n")[0]
        rooms = "config|systemd|docs|tests|kgpud|gateway|store"
        for name in re.findall(rf"(?<![\w/.])(?:{rooms})/[\w./-]+\w", text):
            assert (ROOT / name).exists(), f"{document.name}: {name}"
        for name in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (document.parent / name).exists(), f"{document.name}: {name}"
        for name in re.findall(r"`kgpud ([a-z][a-z-]+)", text):
            assert name in main.list_commands(None), name  # type: ignore[arg-type]


def test_every_module_on_the_map_is_there() -> None:
    rooms = MAP.read_text().split("\n**`")[1:]
    rows = [
        (room.split("/")[0], row)
        for room in rooms
        for row in re.findall(r"^\| (`.+?) \|", room, re.MULTILINE)
    ]
    assert len(rows) > 20
    for room, row in rows:
        for name in re.findall("`(.+?)`", row):
            assert [*(ROOT / room).glob(name), *(ROOT / room).glob(f"{name}.*")], f"{room}/{name}"


def settings(node: Any, at: str = "") -> set[str]:
    found = set()
    for field in dataclasses.fields(node):
        name, value = f"{at}{field.name}", getattr(node, field.name)
        found.add(name)
        if dataclasses.is_dataclass(value):
            found |= settings(value, f"{name}.")
    return found


def test_every_setting_that_the_guide_names_is_one() -> None:
    named = set(re.findall(r"`([a-z0-9]+\.[a-z_]+)(?:`| = )", GUIDE.read_text()))
    assert len(named) > 8
    assert named <= settings(Config())


async def test_the_script_makes_a_kubeconfig_that_works_and_may_do_no_more(
    prepared: Installed, tmp_path: Path
) -> None:
    made = tmp_path / "kubeconfig"
    made.write_text(scripted(prepared, tmp_path))
    text = yaml.safe_load(made.read_text())
    assert [one["name"] for one in text["users"]] == ["kgpud"]
    async with Cluster.connect(made, "kgpu") as cluster:
        assert (await cluster.list_pods()).items == []
        assert not await cluster.may("get", "secrets")


def scripted(prepared: Installed, home: Path) -> str:
    env = {
        "HOME": str(home),
        "PATH": f"{KUBECTL.parent}:{os.environ['PATH']}",
        "KUBECONFIG": str(prepared.cluster.state / "kubeconfig"),
    }
    script = ["sh", str(K3S / "kubeconfig.sh")]
    done = subprocess.run(script, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_device_plugin_is_told_to_use_cdi_alone() -> None:
    chart = yaml.safe_load((K3S / "nvidia-device-plugin.yaml").read_text())
    values = yaml.safe_load(chart["spec"]["valuesContent"])
    assert values["deviceListStrategy"] == "cdi-cri"
    # Without it the chart mounts no driver to describe; see its daemonset-device-plugin.yml.
    assert values["nvidiaDriverRoot"] == "/"
    assert values["gfd"] == {"enabled": True}


def test_the_guides_firewall_lines_are_the_files() -> None:
    shown = GUIDE.read_text().split("```nft\n", 1)[1].split("```", 1)[0]
    file = [line.strip() for line in (K3S / "kgpud.nft").read_text().splitlines()]
    assert all(line.strip() in file for line in shown.splitlines())


# What users are told that the default image has.
PROMISED = (
    "wfdb", "vitaldb", "scipy", "scikit-learn", "pandas", "matplotlib", "seaborn", "duckdb",
    "pyarrow", "tmux", "uv", "zstd", "openssh-sftp-server",
)  # fmt: skip


def test_the_image_is_built_with_what_users_were_promised_and_looked_at_for_it() -> None:
    recipe = (IMAGE / "Containerfile").read_text()
    assert [name for name in PROMISED if not re.search(rf"\s{name}\s", recipe)] == []
    smoke = runpy.run_path(str(IMAGE / "smoke.py"))
    looked_at = {*smoke["MODULES"], *(Path(name).name for name in smoke["PROGRAMS"])}
    names = {"scikit-learn": "sklearn", "openssh-sftp-server": "sftp-server"}
    assert {names.get(name, name) for name in PROMISED} <= looked_at
    kernels = {f"sm_{one.replace('.', '')}" for one in Config().images.kernels}
    assert set(smoke["KERNELS"]) == kernels


def test_the_smoke_script_says_what_is_missing(tmp_path: Path) -> None:
    """In an image that has none of it; in the right one it takes a GPU and 20 GB to run."""
    script = str(IMAGE / "smoke.py")
    env = {"PATH": str(tmp_path), "KGPU_SMOKE_NO_GPU": "1"}
    done = subprocess.run([sys.executable, "-I", script], env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert "import vitaldb: " in done.stderr
    assert "tmux is not there" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "built", "has"),
    [
        ("sm_86", ["sm_80"], True),
        ("sm_89", ["sm_80", "sm_90a"], True),
        ("sm_70", ["sm_75"], False),
        ("sm_120", ["sm_100", "compute_120"], False),
        ("sm_90", ["sm_90a"], True),
    ],
)
def test_the_smoke_script_knows_what_kernels_run_where(
    name: str, built: list[str], has: bool
) -> None:
    assert runpy.run_path(str(IMAGE / "smoke.py"))["_served"](name, built) is has
