"""The image `kgpu-pytorch:latest`: the host's own tools, read-only, and a simulated nvidia-smi."""

import os
import shlex
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from kgpud.localcluster.gpus import Gpu, Share

_TOP = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = (
    "ssl/certs", "ssl/openssl.cnf", "ca-certificates", "ca-certificates.conf", "pki",
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "timezone",
    "os-release", "debian_version", "nsswitch.conf", "profile", "profile.d", "bash.bashrc",
    "inputrc", "terminfo", "services", "protocols", "fonts", "OpenCL", "vulkan", "glvnd",
    "mime.types", "magic", "python3", "python3.11", "perl", "java", "vim", "nanorc", "screenrc",
    "login.defs", "locale.alias", "locale.conf", "default/locale", "bindresvport.blacklist",
)  # fmt: skip
# Each mount costs a start a millisecond, and in a container these files are its own.
_COPIED = 128 * 1024
_SMI = Path(__file__).with_name("nvidia-smi.sh")


def lay_out(root: Path, usr_local: Path, share: Share) -> list[str]:
    """Prepare the pod's `root` and its own `usr_local`; return bwrap's arguments."""
    for name in ("bin", "sbin", "lib", "share", "src", "include", "etc"):
        (usr_local / name).mkdir(parents=True)
    if not share.is_real:
        _write_smi(usr_local / "bin" / "nvidia-smi", share.gpus)
    if not Path("/usr/bin/python").exists() and Path("/usr/bin/python3").exists():
        (usr_local / "bin" / "python").symlink_to("/usr/bin/python3")
    mounts = ["--ro-bind", "/usr", "/usr", "--bind", str(usr_local), "/usr/local"]
    mounts += share.folder_mounts()
    for name in _TOP:
        mounts += _top_folder(root, Path("/") / name)
    for name in _ETC:
        mounts += _etc_entry(root, name)
    return mounts


def _top_folder(root: Path, path: Path) -> list[str]:
    if path.is_symlink():
        (root / path.name).symlink_to(path.readlink())
        return []
    return ["--ro-bind", str(path), str(path)] if path.is_dir() else []


def _etc_entry(root: Path, name: str) -> list[str]:
    """Copy or bind one /etc entry by its real path, if everybody may read it."""
    path, own = Path("/etc") / name, root / "etc" / name
    try:
        real = path.resolve(strict=True)
        found = real.stat()
    except OSError:
        return []
    if not found.st_mode & stat.S_IROTH or not os.access(real, os.R_OK):
        return []
    own.parent.mkdir(exist_ok=True)
    if stat.S_ISREG(found.st_mode) and found.st_size <= _COPIED:
        shutil.copyfile(real, own)
        return []
    return ["--ro-bind", str(real), str(path)]


def _write_smi(path: Path, gpus: Sequence[Gpu]) -> None:
    lines = "".join(f"{gpu.name}|{gpu.uuid}\n" for gpu in gpus)
    path.write_text(_SMI.read_text().replace("@GPUS@", shlex.quote(lines)))
    path.chmod(0o755)
