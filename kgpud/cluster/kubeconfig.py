"""Reading a kubeconfig: what its current context says, plugins and token files included.

kubernetes_asyncio makes a configuration of it. Before that, paths are made absolute, a credential
plugin's answer is put in its place, since the library neither bounds nor ends one, and what stands
in the file itself goes to files that are gone again at once: the library would leave keys in /tmp.
"""

import base64
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from kubernetes_asyncio import config
from kubernetes_asyncio.client.configuration import Configuration

from kgpud.cluster import plugin

Object = dict[str, Any]

#: Where Kubernetes projects a pod's token and its cluster's certificate authority.
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_FOREVER = float("inf")
# How long what stands in files is believed: tokens there are replaced before they end.
FILES_SECONDS = 60.0
# A plugin is asked again so long before its credential ends.
_EARLY_SECONDS = 60.0
_LEAST_SECONDS = 5.0
_FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
# What the library meets in a file that somebody wrote by hand.
_WRONG = (
    config.ConfigException, yaml.YAMLError, ValueError, KeyError, TypeError,
    AttributeError, AssertionError,
)  # fmt: skip


class BadKubeconfig(Exception):
    """Credentials can't be had. The text quotes nothing of the file."""


@dataclass(frozen=True)
class Tls:
    """What a TLS context is made from: PEM texts, and whether the server's is checked at all."""

    authority: bytes | None
    certificate: bytes | None
    key: bytes | None = field(repr=False)
    verify: bool


@dataclass(frozen=True)
class Loaded:
    """What was read, and for how many seconds it is good. `tls` is None for plain HTTP."""

    url: str
    token: str | None = field(repr=False)
    tls: Tls | None
    server_name: str | None
    proxy: str | None
    seconds: float


async def load(
    path: Path | None, *, plugin_seconds: float, account: Path = SERVICE_ACCOUNT
) -> Loaded:
    """Read a kubeconfig, or the folder `account` of the pod we run in if it is None.

    Raises BadKubeconfig.
    """
    where = path or "a pod's own credentials"
    try:
        if path is None:
            return _told(_in_cluster(account), FILES_SECONDS)
        with tempfile.TemporaryDirectory(prefix="kgpud-") as folder:
            configuration, seconds = await _from_file(path, Path(folder), plugin_seconds)
            return _told(configuration, seconds)
    except plugin.PluginFailed as error:
        raise BadKubeconfig(f"can't use {where}: {error}") from None
    except OSError as error:
        raise BadKubeconfig(f"can't read {error.filename or where}: {error.strerror}") from None
    except _WRONG as error:
        # The library's text may quote the file, so only its kind is told.
        what = "kgpud runs in none" if path is None else "something is missing or wrong in it"
        raise BadKubeconfig(f"can't use {where}: {what} ({type(error).__name__})") from None


def _in_cluster(account: Path) -> Configuration:
    configuration = Configuration()
    config.load_incluster_config(  # type: ignore[no-untyped-call]
        client_configuration=configuration,
        try_refresh_token=False,
        token_filename=str(account / "token"),
        cert_filename=str(account / "ca.crt"),
    )
    return configuration


async def _from_file(
    path: Path, folder: Path, plugin_seconds: float
) -> tuple[Configuration, float]:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    context = _named(document["contexts"], document["current-context"])["context"]
    cluster = dict(_named(document["clusters"], context["cluster"])["cluster"])
    user = dict(_named(document.get("users") or [], context.get("user")).get("user") or {})
    seconds = FILES_SECONDS
    if "exec" in user:
        user, seconds = await _from_plugin(user["exec"], cluster, plugin_seconds)
    for entry in (cluster, user):
        _to_files(entry, path.parent, folder)
    configuration = Configuration()
    await config.load_kube_config_from_dict(
        {
            "clusters": [{"name": "it", "cluster": cluster}],
            "users": [{"name": "it", "user": user}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "current-context": "it",
        },
        client_configuration=configuration,
    )
    return configuration, seconds


def _named(entries: list[Object], name: str | None) -> Object:
    return next((one for one in entries if one["name"] == name), {})


def _to_files(entry: Object, base: Path, folder: Path) -> None:
    """Let an entry name absolute files alone. Its paths are relative to `base`."""
    for name in _FILES:
        if data := entry.pop(f"{name}-data", None):
            written = folder / name
            written.write_bytes(base64.b64decode(data))
            entry[name] = str(written)
        elif name in entry:
            entry[name] = str(base / entry[name])


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


def _told(configuration: Configuration, seconds: float) -> Loaded:
    url = (configuration.host or "").rstrip("/")
    files = (configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file)
    authority, certificate, key = (Path(name).read_bytes() if name else None for name in files)
    return Loaded(
        url,
        _token(configuration.api_key.get("BearerToken")),
        Tls(authority, certificate, key, bool(configuration.verify_ssl))
        if url.startswith("https:")
        else None,
        configuration.tls_server_name,
        configuration.proxy,
        seconds,
    )


def _token(said: str | None) -> str | None:
    """Files end in newlines, which no HTTP header may hold."""
    token = said.strip() if said else None
    if token and not token.isprintable():
        raise ValueError("a token with control characters")
    return token
