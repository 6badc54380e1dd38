"""GPUs of a node and of a pod: real ones by their device nodes and driver, or simulated ones.

Detection and mounts are functions of a root folder alone, so that they can be tried on a tree
that only looks like a host with a GPU.
"""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_DEVICE = re.compile(r"nvidia([0-9]+)")
_CONTROLS = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
_INFORMATION = "proc/driver/nvidia/gpus"
_UNKNOWN = "NVIDIA GPU"
# Beside what the host's /usr has anyway: a pod's own /usr/local would hide these.
_LOCAL_FOLDERS = ("nvidia", "cuda*")
_DRIVER = Path("/usr/local/nvidia")
_VENDOR_WORDS = ("nvidia", "geforce", "tesla", "quadro")


@dataclass(frozen=True)
class Gpu:
    """One GPU; without a `device` it is simulated."""

    name: str
    uuid: str
    device: Path | None = None


@dataclass(frozen=True)
class Driver:
    """What every pod with a real GPU needs beside its own device: paths on the host."""

    controls: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Share:
    """The GPUs of one container, all real or all simulated."""

    gpus: tuple[Gpu, ...] = ()
    driver: Driver = field(default_factory=Driver)

    @property
    def is_real(self) -> bool:
        """Whether there is a device behind it."""
        return any(gpu.device for gpu in self.gpus)

    def split(self, count: int) -> tuple["Share", "Share"]:
        """Return the first `count` GPUs, and the others."""
        return Share(self.gpus[:count], self.driver), Share(self.gpus[count:], self.driver)

    def folder_mounts(self) -> list[str]:
        """Return bwrap's arguments for the driver, once /usr/local is mounted."""
        folders = self.driver.folders if self.is_real else ()
        return [part for one in folders for part in ("--ro-bind", str(one), str(one))]

    def device_mounts(self) -> list[str]:
        """Return bwrap's arguments for the devices, once /dev is mounted: its own, no other."""
        if not self.is_real:
            return []
        devices = [gpu.device for gpu in self.gpus if gpu.device] + list(self.driver.controls)
        return [part for one in devices for part in ("--dev-bind", str(one), str(one))]

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return `env` with the driver's programs and libraries on its paths."""
        changed = dict(env)
        if self.is_real and _DRIVER in self.driver.folders:
            for name, folder in (("PATH", "bin"), ("LD_LIBRARY_PATH", "lib64")):
                before = env.get(name)
                changed[name] = f"{_DRIVER / folder}:{before}" if before else str(_DRIVER / folder)
        return changed


def simulated(node: str, index: int, product: str) -> Gpu:
    """Return a simulated GPU of a node, the same in every run."""
    made = uuid.uuid5(uuid.NAMESPACE_DNS, f"{node}/{index}.gpu.kgpu.local")
    return Gpu(product.replace("-", " "), f"GPU-{made}")


def detect(root: Path = Path("/")) -> list[Gpu]:
    """Return the real GPUs of the host whose files lie below `root`, by their minor number."""
    dev = root / "dev"
    entries = dev.iterdir() if dev.is_dir() else ()
    minors = sorted(int(found[1]) for one in entries if (found := _DEVICE.fullmatch(one.name)))
    known = _information(root / _INFORMATION)
    gpus = []
    for minor in minors:
        said = known.get(str(minor), {})
        made = uuid.uuid5(uuid.NAMESPACE_DNS, f"nvidia{minor}.gpu.kgpu.local")
        name, identity = said.get("Model", _UNKNOWN), said.get("GPU UUID", f"GPU-{made}")
        gpus.append(Gpu(name, identity, Path(f"/dev/nvidia{minor}")))
    return gpus


def _information(folder: Path) -> dict[str, dict[str, str]]:
    """Return what the driver says about each GPU, by its minor number."""
    found = {}
    for path in folder.glob("*/information"):
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        said = {key.strip(): text.strip() for key, _, text in (one.partition(":") for one in lines)}
        found[said.get("Device Minor", "")] = said
    return found


def find_driver(root: Path = Path("/")) -> Driver:
    """Return what there is of the driver below `root`, as paths of the host."""
    controls = [Path("/dev") / name for name in _CONTROLS if (root / "dev" / name).exists()]
    local = root / "usr/local"
    folders = [path for pattern in _LOCAL_FOLDERS for path in sorted(local.glob(pattern))]
    # A link (cuda -> cuda-12.4) is mounted as the folder it leads to.
    real = [Path("/") / path.relative_to(root) for path in folders if path.is_dir()]
    return Driver(tuple(controls), tuple(real))


def model(name: str) -> str:
    """Return the short name of a model: `rtx4090` of `NVIDIA GeForce RTX 4090`."""
    short = ""
    words = [word for word in re.split(r"[\s-]+", name.lower()) if word not in _VENDOR_WORDS]
    for word in words:
        if any(character.isdigit() for character in short) and word not in ("ti", "super"):
            break
        short += word
    return re.sub(r"[^a-z0-9]", "", short) or "gpu"
