"""A pod's emptyDir volumes as mounts of its sandbox."""

from collections.abc import Mapping
from typing import Any

from kgpud.localcluster import quantity
from kgpud.localcluster.bwrap import Mount
from kgpud.localcluster.rootfs import PodFolder


def mounts(spec: Mapping[str, Any], folder: PodFolder) -> list[Mount]:
    """Return the emptyDirs that the first container mounts; other volumes are not offered."""
    volumes = {volume["name"]: volume for volume in spec.get("volumes") or []}
    found = []
    for mount in spec["containers"][0].get("volumeMounts") or []:
        empty = volumes.get(mount["name"], {}).get("emptyDir")
        if empty is None:
            continue
        if empty.get("medium") == "Memory":
            size = quantity.whole(empty["sizeLimit"]) if empty.get("sizeLimit") else None
            found.append(Mount(mount["mountPath"], None, size))
        else:
            read_only = bool(mount.get("readOnly"))
            found.append(Mount(mount["mountPath"], folder.volume(mount["name"]), None, read_only))
    return found
