"""What a pod finds at `/`: the folder tree, the files of its own /etc, and each image's mounts."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kgpud.localcluster import bare_image, host_image
from kgpud.localcluster.errors import SandboxError

IMAGES = ("kgpu-pytorch:latest", "bare:latest")
_FOLDERS = ("workspace", "root", "home", "var", "var/log", "var/lib", "run", "opt", "srv", "mnt")
_OPEN_FOLDERS = ("tmp", "var/tmp")


@dataclass(frozen=True)
class PodFolder:
    """One pod's folder on the host, and the host uid that owns what is in it (None: ours)."""

    path: Path
    uid: int | None

    @property
    def root(self) -> Path:
        """The folder that becomes the pod's `/`."""
        return self.path / "rootfs"

    @property
    def usr_local(self) -> Path:
        """The folder that becomes the pod's own /usr/local."""
        return self.path / "usr-local"

    def volume(self, name: str) -> Path:
        """Return the folder behind one emptyDir."""
        return self.path / "volumes" / name


@dataclass(frozen=True)
class Wanted:
    """What the spec asks of the file system: names as in the spec, all plain values."""

    image: str
    hostname: str
    gpus: Sequence[tuple[str, str]]
    volumes: Sequence[str]
    hosts: Sequence[tuple[str, str]] = ()


def canonical_image(image: str) -> str | None:
    """Return which of the two images `image` names, or None for an unknown one."""
    name = image.removeprefix("docker.io/").removeprefix("library/")
    if ":" not in name:
        name += ":latest"
    return name if name in IMAGES else None


def build(folder: PodFolder, wanted: Wanted, images: Path) -> list[str]:
    """Lay out a pod's files; return bwrap's arguments that mount them. Blocking.

    `images` is the folder where image files shared by pods lie. Raises SandboxError when the
    host lacks what the image is made of.
    """
    folder.path.mkdir(mode=0o700, exist_ok=True)  # volumes outlive a restarted container
    folder.root.mkdir(mode=0o755)
    for name in _FOLDERS:
        (folder.root / name).mkdir(mode=0o755)
    (folder.root / "root").chmod(0o700)
    for name in _OPEN_FOLDERS:
        (folder.root / name).mkdir()
        (folder.root / name).chmod(0o1777)
    (folder.root / ".pod").mkdir()
    for name in wanted.volumes:
        if not folder.volume(name).exists():
            folder.volume(name).mkdir(parents=True)
            folder.volume(name).chmod(0o777)
    _write_etc(folder.root / "etc", wanted)
    if canonical_image(wanted.image) == "bare:latest":
        mounts = bare_image.lay_out(folder.root, images)
    else:
        mounts = host_image.lay_out(folder.root, folder.usr_local, wanted.gpus)
    _give_away(folder)
    return ["--bind", str(folder.root), "/", *mounts]


def _write_etc(etc: Path, wanted: Wanted) -> None:
    etc.mkdir()
    names = [("127.0.0.1", "localhost"), ("::1", "localhost"), ("127.0.1.1", wanted.hostname)]
    names += wanted.hosts
    shell = "/bin/bash" if canonical_image(wanted.image) != "bare:latest" else "/bin/sh"
    files = {
        "hostname": f"{wanted.hostname}\n",
        "hosts": "".join(f"{address}\t{name}\n" for address, name in names),
        "resolv.conf": "# This pod has no network.\n",
        "passwd": (
            f"root:x:0:0:root:/root:{shell}\n"
            "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
        ),
        "group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
    }
    for name, text in files.items():
        (etc / name).write_text(text)


def _give_away(folder: PodFolder) -> None:
    """Make the pod's uid the owner of its folder: the tree is ours alone until now."""
    if folder.uid is None:
        return
    for where, folders, files in os.walk(folder.path, topdown=False):
        for name in (*folders, *files):
            os.chown(Path(where) / name, folder.uid, folder.uid, follow_symlinks=False)
    os.chown(folder.path, folder.uid, folder.uid)


def require_known(image: str) -> None:
    """Raise SandboxError unless `image` is one of the two."""
    if canonical_image(image) is None:
        raise SandboxError(f"image {image} is unknown here; there are {' and '.join(IMAGES)}")
