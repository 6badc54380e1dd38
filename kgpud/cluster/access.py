"""Where the API server is and with which credentials, however those change."""

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog
from kubernetes_asyncio.client.configuration import Configuration

from gateway.protocols import ApiServer
from kgpud.cluster import kubeconfig, plugin
from kgpud.cluster.errors import Unreachable
from kgpud.cluster_settings import Kubernetes

log = structlog.get_logger()

# How soon a refresh that failed is tried again, while the old credentials still serve.
_RETRY_SECONDS = 10.0
# An address that could not be reached is not tried again within this while there is another.
_AVOID_SECONDS = 10.0


class Access:
    """Address and credentials from a kubeconfig, or from inside a pod of the cluster.

    Files are read again every minute, a credential plugin is asked again before its answer ends,
    and both at once when the API server refused them. `monotonic` is a clock in seconds;
    a plugin may take `plugin_seconds`.
    """

    def __init__(
        self,
        settings: Kubernetes,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        plugin_seconds: float = plugin.SECONDS,
    ) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._plugin_seconds = plugin_seconds
        self._lock = asyncio.Lock()
        self._configuration: Configuration | None = None
        self._good_until = float("-inf")
        self._tls: tuple[object, ssl.SSLContext | None] = (None, None)
        self._address = 0
        self._avoided: dict[str, float] = {}

    async def api_server(self) -> ApiServer:
        """Return the current address and credentials. Raises Unreachable if there are none."""
        if self._monotonic() >= self._good_until:
            async with self._lock:
                # Somebody may have done it while we waited.
                if self._monotonic() >= self._good_until:
                    await self._load()
        configuration = self._configuration
        assert configuration is not None
        token = configuration.api_key.get("BearerToken")
        return ApiServer(
            self._addresses(configuration)[self._address],
            self._tls[1],
            {"Authorization": token} if token else {},
            proxy=self._settings.proxy or None,
            server_name=configuration.tls_server_name,
        )

    def forget(self) -> None:
        """Read the credentials again at the next call: these were refused."""
        self._configuration = None
        self._good_until = float("-inf")

    def avoid(self, server: ApiServer) -> bool:
        """Take note that an address can't be reached; tell whether there is another one to try."""
        now = self._monotonic()
        self._avoided[server.url] = now
        if self._configuration is None:
            return True
        addresses = self._addresses(self._configuration)
        if server.url == addresses[self._address]:
            self._address = (self._address + 1) % len(addresses)
        following = addresses[self._address]
        return now - self._avoided.get(following, float("-inf")) >= _AVOID_SECONDS

    def _addresses(self, configuration: Configuration) -> Sequence[str]:
        return ((configuration.host or "").rstrip("/"), *self._settings.servers)

    async def _load(self) -> None:
        try:
            loaded = await kubeconfig.load(
                self._settings.kubeconfig, plugin_seconds=self._plugin_seconds
            )
            self._take(loaded.configuration)
        except (kubeconfig.BadKubeconfig, OSError) as error:
            if self._configuration is None:
                said = str(error) if isinstance(error, kubeconfig.BadKubeconfig) else _kind(error)
                raise Unreachable(said, maybe_done=False) from None
            log.warning("cluster.credentials_kept", error=str(error))
            self._good_until = self._monotonic() + _RETRY_SECONDS
        else:
            self._good_until = self._monotonic() + loaded.seconds

    def _take(self, configuration: Configuration) -> None:
        if configuration.proxy and not self._settings.proxy:
            where = self._settings.kubeconfig
            said = f"{where} names a proxy: set cluster.proxy to use it, or take it out there"
            raise kubeconfig.BadKubeconfig(said)
        shown = _shown(configuration)
        if self._configuration is None or shown != self._tls[0]:
            # Another context means other connections, so an unchanged one is kept.
            self._tls = (shown, _context(configuration))
        self._configuration = configuration


def _kind(error: OSError) -> str:
    return f"can't use the cluster's credentials: {type(error).__name__}"


def _shown(configuration: Configuration) -> object:
    """Return what a TLS context is made from, to compare."""
    files = (configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file)
    contents = [Path(name).read_bytes() if name else None for name in files]
    return (*contents, configuration.verify_ssl, (configuration.host or "").startswith("https:"))


def _context(configuration: Configuration) -> ssl.SSLContext | None:
    if not (configuration.host or "").startswith("https:"):
        return None
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
