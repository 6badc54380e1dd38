"""A pod's volumes: folders that containers share, files of secrets, and memory."""

import base64
import re
from collections.abc import Mapping
from typing import Any

from kgpud.localcluster import quantity
from kgpud.localcluster.bwrap import Mount
from kgpud.localcluster.registry import Document, Registry
from kgpud.localcluster.rootfs import PodFolder

_FILE = re.compile(r"(?!\.\.)[-._a-zA-Z0-9]+")
_MODE = 0o644


class MountError(Exception):
    """A volume can't be had yet, or ever; the text is the FailedMount Event's."""


def contents(registry: Registry, namespace: str, spec: Mapping[str, Any]) -> dict[str, Document]:
    """Return the files of each volume that is a folder: {volume: {file: (bytes, mode)}}.

    Raises MountError for a secret that is not there, and for kinds this cluster does not have.
    """
    found: dict[str, Document] = {}
    for volume in spec.get("volumes") or []:
        if secret := volume.get("secret"):
            found[volume["name"]] = _secret_files(registry, namespace, volume["name"], secret)
        elif "emptyDir" not in volume:
            kinds = ", ".join(sorted(set(volume) - {"name"})) or "none"
            raise MountError(
                _failed(volume["name"], f"this local cluster has no such kind: {kinds}")
            )
        elif volume["emptyDir"].get("medium") != "Memory":
            found[volume["name"]] = {}
    return found


def _secret_files(
    registry: Registry, namespace: str, volume: str, source: Mapping[str, Any]
) -> Document:
    name, is_optional = source.get("secretName", ""), bool(source.get("optional"))
    secret = registry.get("secrets", namespace, name)
    if secret is None and not is_optional:
        raise MountError(_failed(volume, f'secret "{name}" not found'))
    data = {} if secret is None else secret.get("data") or {}
    wanted = source.get("items") or [{"key": key, "path": key} for key in data]
    files = {}
    for item in wanted:
        if not _FILE.fullmatch(item["path"]):
            raise MountError(_failed(volume, f'"{item["path"]}" is not a file name'))
        if item["key"] in data:
            mode = item.get("mode", source.get("defaultMode", _MODE))
            files[item["path"]] = (base64.b64decode(data[item["key"]]), mode & 0o777)
        elif not is_optional:
            raise MountError(_failed(volume, "references non-existent secret key: " + item["key"]))
    return files


def _failed(volume: str, why: str) -> str:
    return f'MountVolume.SetUp failed for volume "{volume}" : {why}'


def make(folder: PodFolder, files: Mapping[str, Document]) -> None:
    """Make the folders of `contents`, with their files. Blocking."""
    folder.prepare()
    for name, inside in files.items():
        where = folder.volumes / name
        where.mkdir(exist_ok=True)  # an attempt before may have met a full disk
        for file, (data, mode) in inside.items():
            path = where / file
            path.write_bytes(data)
            path.chmod(mode)
            folder.give_away(path)
        where.chmod(0o777)
        folder.give_away(where)


def mounts(spec: Mapping[str, Any], container: Mapping[str, Any], folder: PodFolder) -> list[Mount]:
    """Return what one container mounts."""
    volumes = {volume["name"]: volume for volume in spec.get("volumes") or []}
    found = []
    for mount in container.get("volumeMounts") or []:
        volume = volumes.get(mount["name"], {})
        empty = volume.get("emptyDir") or {}
        if empty.get("medium") == "Memory":
            size = quantity.whole(empty["sizeLimit"]) if empty.get("sizeLimit") else _memory(spec)
            found.append(Mount(mount["mountPath"], None, size))
        elif volume:
            read_only = bool(mount.get("readOnly")) or "secret" in volume
            source = folder.volumes / mount["name"]
            found.append(Mount(mount["mountPath"], source, None, read_only))
    return found


def _memory(spec: Mapping[str, Any]) -> int | None:
    """Return how large a memory volume without a limit of its own is: as the pod's limits are."""
    limits = [(one.get("resources") or {}).get("limits") or {} for one in spec["containers"]]
    if not all("memory" in limit for limit in limits):
        return None
    return sum(quantity.whole(limit["memory"]) for limit in limits)
