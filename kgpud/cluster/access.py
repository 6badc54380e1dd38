"""Where the API server is and with which credentials, however those change."""

import asyncio
import ssl
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from gateway.protocols import ApiServer
from kgpud.cluster import kubeconfig, plugin
from kgpud.cluster.errors import NoCredentials
from kgpud.cluster.kubeconfig import Loaded, Tls
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
    a plugin may take `plugin_seconds`, `account` is the folder that a pod finds its token in.
    """

    def __init__(
        self,
        settings: Kubernetes,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        plugin_seconds: float = plugin.SECONDS,
        account: Path = kubeconfig.SERVICE_ACCOUNT,
    ) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._plugin_seconds = plugin_seconds
        self._account = account
        self._lock = asyncio.Lock()
        self._loaded: Loaded | None = None
        self._good_until = float("-inf")
        self._tls: tuple[Tls | None, ssl.SSLContext | None] = (None, None)
        self._address = 0
        self._avoided: dict[str, float] = {}

    async def api_server(self) -> ApiServer:
        """Return the current address and credentials. Raises NoCredentials.

        While one caller waits for new ones, a slow plugin's maybe, the old ones serve the others.
        """
        if self._is_stale() and not (self._loaded and self._lock.locked()):
            async with self._lock:
                # Somebody may have done it while we waited.
                if self._is_stale():
                    await self._load()
        loaded = self._loaded
        assert loaded is not None
        return ApiServer(
            self._addresses(loaded)[self._address],
            self._tls[1],
            _headers(loaded),
            proxy=self._settings.proxy or None,
            server_name=loaded.server_name,
        )

    def _is_stale(self) -> bool:
        return self._monotonic() >= self._good_until

    def forget(self, server: ApiServer) -> None:
        """Read the credentials again at the next call if these, which were refused, still serve."""
        if self._loaded is None or server.headers == _headers(self._loaded):
            self._loaded = None
            self._good_until = float("-inf")

    def avoid(self, server: ApiServer) -> bool:
        """Take note that an address can't be reached; tell whether there is another one to try."""
        now = self._monotonic()
        self._avoided[server.url] = now
        if self._loaded is None:
            return True
        addresses = self._addresses(self._loaded)
        if server.url == addresses[self._address]:
            self._address = (self._address + 1) % len(addresses)
        following = addresses[self._address]
        return now - self._avoided.get(following, float("-inf")) >= _AVOID_SECONDS

    def _addresses(self, loaded: Loaded) -> Sequence[str]:
        return (loaded.url, *self._settings.servers)

    async def _load(self) -> None:
        try:
            loaded = await kubeconfig.load(
                self._settings.kubeconfig,
                plugin_seconds=self._plugin_seconds,
                account=self._account,
            )
            self._take(loaded)
        except kubeconfig.BadKubeconfig as error:
            if self._loaded is None:
                raise NoCredentials(str(error)) from None
            log.warning("cluster.credentials_kept", error=str(error))
            self._good_until = self._monotonic() + _RETRY_SECONDS
        else:
            self._good_until = self._monotonic() + loaded.seconds

    def _take(self, loaded: Loaded) -> None:
        where = self._settings.kubeconfig
        if loaded.proxy and not self._settings.proxy:
            said = f"{where} names a proxy: set cluster.proxy to use it, or take it out there"
            raise kubeconfig.BadKubeconfig(said)
        if loaded.tls != self._tls[0]:
            # Another context means other connections, so an unchanged one is kept.
            try:
                self._tls = (loaded.tls, _context(loaded.tls) if loaded.tls else None)
            except (ssl.SSLError, ValueError) as error:
                said = f"can't use the certificates of {where}: {type(error).__name__}"
                raise kubeconfig.BadKubeconfig(said) from None
        self._loaded = loaded


def _headers(loaded: Loaded) -> Mapping[str, str]:
    return {"Authorization": loaded.token} if loaded.token else {}


def _context(tls: Tls) -> ssl.SSLContext:
    authority = tls.authority.decode("ascii") if tls.authority else None
    context = ssl.create_default_context(cadata=authority)
    if tls.certificate:
        with tempfile.TemporaryDirectory(prefix="kgpud-") as folder:
            # OpenSSL reads certificates of ours from files alone.
            both = Path(folder) / "both.pem"
            both.write_bytes(tls.certificate + b"\n" + (tls.key or b""))
            context.load_cert_chain(both)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
