"""What a pod finds at `/`: the folder tree, the files of its own /etc, and each image's mounts."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kgpud.localcluster import bare_image, gpus, host_image, images

_FOLDERS = ("workspace", "root", "home", "var", "var/log", "var/lib", "run", "opt", "srv", "mnt")
_OPEN_FOLDERS = ("tmp", "var/tmp")


@dataclass(frozen=True)
class PodFolder:
    """One pod's folder on the host, and the host uid that owns what is in it (None: ours)."""

    path: Path
    uid: int | None

    @property
    def volumes(self) -> Path:
        """The folder that has a folder for each of the pod's volumes, by name."""
        return self.path / "volumes"

    def layer(self, container: str) -> Path:
        """Return the folder of all that one container writes outside of volumes."""
        return self.path / "containers" / container

    def prepare(self) -> None:
        """Make what is not there yet."""
        for folder in (self.path, self.volumes, self.path / "containers"):
            folder.mkdir(mode=0o700, exist_ok=True)
            self.give_away(folder)

    def give_away(self, *paths: Path) -> None:
        """Make the pod's uid the owner."""
        if self.uid is not None:
            for path in paths:
                os.chown(path, self.uid, self.uid, follow_symlinks=False)


@dataclass(frozen=True)
class Wanted:
    """What the spec asks of one container's file system: names as in the spec, plain values.

    `hosts` are the lines of its /etc/hosts beside localhost: (address, name).
    """

    image: str
    container: str
    hostname: str
    gpus: gpus.Share
    hosts: Sequence[tuple[str, str]] = ()


def build(folder: PodFolder, wanted: Wanted, image_files: Path) -> list[str]:
    """Lay out a container's files; return bwrap's arguments that mount them. Blocking.

    `image_files` is the folder of files that pods share. Raises SandboxError when the host lacks
    what the image is made of.
    """
    layer = folder.layer(wanted.container)
    root, usr_local = layer / "rootfs", layer / "usr-local"
    layer.mkdir(mode=0o700)
    root.mkdir(mode=0o755)
    for name in _FOLDERS:
        (root / name).mkdir(mode=0o755)
    (root / "root").chmod(0o700)
    for name in _OPEN_FOLDERS:
        (root / name).mkdir()
        (root / name).chmod(0o1777)
    (root / ".pod").mkdir()
    _write_etc(root / "etc", wanted)
    if images.canonical(wanted.image) == images.BARE:
        mounts = bare_image.lay_out(root, image_files)
    else:
        mounts = host_image.lay_out(root, usr_local, wanted.gpus)
    _give_all_away(folder, layer)
    return ["--bind", str(root), "/", *mounts]


def _write_etc(etc: Path, wanted: Wanted) -> None:
    etc.mkdir()
    names = [("127.0.0.1", "localhost"), ("::1", "localhost"), *wanted.hosts]
    shell = "/bin/sh" if images.canonical(wanted.image) == images.BARE else "/bin/bash"
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


def _give_all_away(folder: PodFolder, layer: Path) -> None:
    """Make the pod's uid the owner of a tree that is ours alone until now."""
    for where, folders, files in os.walk(layer, topdown=False):
        folder.give_away(*(Path(where) / name for name in (*folders, *files)))
    folder.give_away(layer)
