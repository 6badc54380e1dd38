"""Reading a kubeconfig: what its current context says, plugins and token files included.

kubernetes_asyncio makes a configuration of it. Before that, paths are made absolute and a
credential plugin's answer is put in its place, since the library neither bounds nor ends one.
"""

import base64
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes_asyncio import config
from kubernetes_asyncio.client.configuration import Configuration

from kgpud.cluster import plugin

Object = dict[str, Any]

_FOREVER = float("inf")
# How long what stands in files is believed: tokens there are replaced before they end.
FILES_SECONDS = 60.0
# A plugin is asked again so long before its credential ends.
_EARLY_SECONDS = 60.0
_LEAST_SECONDS = 5.0
_CLUSTER_FILES = ("certificate-authority",)
_USER_FILES = ("client-certificate", "client-key", "tokenFile")
# What the library meets in a file that somebody wrote by hand.
_WRONG = (
    config.ConfigException, yaml.YAMLError, OSError, ValueError, KeyError, TypeError,
    AttributeError, AssertionError,
)  # fmt: skip


class BadKubeconfig(Exception):
    """Credentials can't be had. The text quotes nothing of the file."""


@dataclass(frozen=True)
class Loaded:
    """A configuration, and for how many seconds it is good."""

    configuration: Configuration
    seconds: float


async def load(path: Path | None, *, plugin_seconds: float) -> Loaded:
    """Read a kubeconfig, or the files of the pod we run in if None. Raises BadKubeconfig."""
    where = path or "in-cluster credentials"
    try:
        if path is None:
            configuration, seconds = _in_cluster(), FILES_SECONDS
        else:
            configuration, seconds = await _from_file(path, plugin_seconds)
        _tidy(configuration)
    except plugin.PluginFailed as error:
        raise BadKubeconfig(f"can't use {where}: {error}") from None
    except _WRONG as error:
        # The library's text may quote the file, so only its kind is told.
        raise BadKubeconfig(f"can't use {where}: {type(error).__name__}") from None
    return Loaded(configuration, seconds)


def _in_cluster() -> Configuration:
    configuration = Configuration()
    config.load_incluster_config(  # type: ignore[no-untyped-call]
        client_configuration=configuration, try_refresh_token=False
    )
    return configuration


async def _from_file(path: Path, plugin_seconds: float) -> tuple[Configuration, float]:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    context = _named(document["contexts"], document["current-context"])["context"]
    cluster = dict(_named(document["clusters"], context["cluster"])["cluster"])
    user = dict(_named(document.get("users") or [], context.get("user")).get("user") or {})
    seconds = FILES_SECONDS
    _make_absolute(cluster, _CLUSTER_FILES, path.parent)
    _make_absolute(user, _USER_FILES, path.parent)
    if "exec" in user:
        user, seconds = await _from_plugin(user["exec"], cluster, plugin_seconds)
    configuration = Configuration()
    named = {"name": "it", "cluster": cluster}, {"name": "it", "user": user}
    await config.load_kube_config_from_dict(
        {
            "clusters": [named[0]],
            "users": [named[1]],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "current-context": "it",
        },
        client_configuration=configuration,
    )
    return configuration, seconds


def _named(entries: list[Object], name: str | None) -> Object:
    return next((one for one in entries if one["name"] == name), {})


def _make_absolute(entry: Object, names: tuple[str, ...], folder: Path) -> None:
    """Paths in a kubeconfig are relative to it."""
    for name in names:
        if name in entry:
            entry[name] = str(folder / entry[name])


async def _from_plugin(spec: Object, cluster: Object, allowed: float) -> tuple[Object, float]:
    """Return the user that a plugin stands for; one that ends at no time is good until refused."""
    credential = await plugin.run(spec, cluster, seconds=allowed)
    user: Object = {}
    if credential.token:
        user["token"] = credential.token
    for name, text in (("certificate", credential.certificate), ("key", credential.key)):
        if text:
            user[f"client-{name}-data"] = base64.b64encode(text.encode()).decode()
    if credential.expires_at is None:
        return user, _FOREVER
    left = credential.expires_at - time.time()
    return user, max(left - _EARLY_SECONDS, _LEAST_SECONDS)


def _tidy(configuration: Configuration) -> None:
    """Files end in newlines, which no HTTP header may hold."""
    token = configuration.api_key.get("BearerToken")
    if token is None:
        return
    token = token.strip()
    if not token.isprintable():
        raise ValueError("a token with control characters")
    configuration.api_key["BearerToken"] = token
