"""The image `bare:latest`: Debian's static busybox, its applets as links, and nothing else."""

import shutil
import subprocess
import threading
from pathlib import Path

from kgpud.localcluster.errors import SandboxError

_BUSYBOX = Path("/bin/busybox")
_MAKING = threading.Lock()  # pods are laid out in threads
_LINKS = {"sbin": "bin", "usr/bin": "../bin", "usr/sbin": "../bin", "usr/lib": "../lib"}


def _image(images: Path) -> Path:
    """Return the folder of applets, made on first use. Blocking; a pod must not write to it."""
    applets = images / "bare"
    with _MAKING:
        if not applets.exists():
            _make(applets)
    return applets


def _make(applets: Path) -> None:
    if not _BUSYBOX.exists():
        raise SandboxError(f"bare:latest needs {_BUSYBOX}: apt-get install busybox-static")
    half_made = applets.with_name("bare.new")
    shutil.rmtree(half_made, ignore_errors=True)  # of an attempt that met a full disk
    half_made.mkdir(mode=0o755)
    shutil.copyfile(_BUSYBOX, half_made / "busybox")
    (half_made / "busybox").chmod(0o755)
    listed = subprocess.run([_BUSYBOX, "--list"], capture_output=True, check=True, text=True)
    for name in listed.stdout.split():
        if name != "busybox":
            (half_made / name).symlink_to("busybox")
    half_made.rename(applets)


def lay_out(root: Path, images: Path) -> list[str]:
    """Prepare the pod's `root`; return bwrap's arguments. SandboxError without a busybox."""
    applets = _image(images)
    for name in ("bin", "lib", "usr", "usr/local", "usr/local/bin"):
        (root / name).mkdir()
    for name, target in _LINKS.items():
        (root / name).symlink_to(target)
    return ["--ro-bind", str(applets), "/bin"]
