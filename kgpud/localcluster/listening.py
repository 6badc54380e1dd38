"""The API server on its socket, over HTTP or HTTPS, and the kubeconfigs that lead there."""

import json
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from kgpud.localcluster import auth, identity, tls
from kgpud.localcluster.cluster import Cluster
from kgpud.localcluster.private_file import write_private
from kgpud.localcluster.routes_exec import ExecOptions
from kgpud.localcluster.server import application

BACKLOG = 256
# A 128 KiB argument may be escaped three bytes for one, and there may be several.
_MAX_LINE = 8 << 20
_DRAIN_SECONDS = 0.5
_KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters:
- name: kgpud-local
  cluster: {cluster}
users:
- name: kgpud-local
  user: {user}
contexts:
- name: kgpud-local
  context: {{cluster: kgpud-local, user: kgpud-local, namespace: kgpu}}
current-context: kgpud-local
"""


@asynccontextmanager
async def listening(
    cluster: Cluster,
    state: Path,
    listener: socket.socket,
    tokens: auth.Tokens,
    *,
    execs: ExecOptions,
    with_tls: bool,
) -> AsyncIterator[dict[str, object]]:
    """Serve on `listener` and write `state/kubeconfig`; yields the line that says so."""
    secret_path = secrets.token_urlsafe(32)
    runner = web.AppRunner(
        application(cluster, identity.of_folder(state), tokens, secret_path, execs),
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=_DRAIN_SECONDS,
        max_line_size=_MAX_LINE,
        max_field_size=_MAX_LINE,
    )
    context = tls.make(state) if with_tls else None
    await runner.setup()
    try:
        await web.SockSite(runner, listener, backlog=BACKLOG, ssl_context=context).start()
        address = "{}:{}".format(*listener.getsockname())
        url = f"https://{address}" if with_tls else f"http://{address}"
        written = _write_kubeconfigs(state, url, tokens, None if with_tls else secret_path)
        yield {"ready": True, "url": url, "kubeconfig": str(written[0])}
        for path in (*written, state / tls.CA_FILE):
            path.unlink(missing_ok=True)
    finally:
        await runner.cleanup()


def _write_kubeconfigs(
    state: Path, url: str, tokens: auth.Tokens, secret_path: str | None
) -> list[Path]:
    """Write the administrator's kubeconfig; over HTTP a second one, which kubectl can use."""
    token = secrets.token_urlsafe(32)
    tokens.add(token, auth.ADMIN)
    cluster = {"server": url}
    if secret_path is None:
        cluster["certificate-authority"] = str(state / tls.CA_FILE)
    files = [(state / "kubeconfig", cluster, {"token": token})]
    if secret_path is not None:
        hidden = {"server": f"{url}/{secret_path}"}
        files.append((state / "kubectl.kubeconfig", hidden, {}))
    for path, reached, user in files:
        text = _KUBECONFIG.format(cluster=json.dumps(reached), user=json.dumps(user))
        write_private(path, text)
    return [path for path, _reached, _user in files]
