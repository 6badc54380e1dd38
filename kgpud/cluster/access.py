"""Where the API server is and with which credentials: what kubernetes_asyncio is used for."""

import ssl
from pathlib import Path

from kubernetes_asyncio import config
from kubernetes_asyncio.client.configuration import Configuration

from gateway.protocols import ApiServer
from kgpud.cluster.errors import Unreachable


class Access:
    """Address and credentials from a kubeconfig, or from inside a pod of the cluster."""

    def __init__(self, kubeconfig: Path | None) -> None:
        self._kubeconfig = kubeconfig
        self._configuration: Configuration | None = None
        self._ssl: ssl.SSLContext | None = None

    async def api_server(self) -> ApiServer:
        """Return the current address and credentials. Raises Unreachable if there are none."""
        if self._configuration is None:
            await self._load()
        assert self._configuration is not None
        token = await self._configuration.get_api_key_with_prefix("BearerToken")
        headers = {"Authorization": token} if token else {}
        return ApiServer(_host(self._configuration), self._ssl, headers)

    def forget(self) -> None:
        """Read the credentials again at the next call: these were refused."""
        self._configuration = None

    def avoid(self, server: ApiServer) -> bool:
        """Take note that an address can't be reached; tell whether there is another one."""
        del server
        return False

    async def _load(self) -> None:
        configuration = Configuration()
        try:
            if self._kubeconfig is None:
                config.load_incluster_config(  # type: ignore[no-untyped-call]
                    client_configuration=configuration
                )
            else:
                await config.load_kube_config(
                    config_file=str(self._kubeconfig),
                    client_configuration=configuration,
                    persist_config=False,
                )
            self._ssl = _tls(configuration)
        except (config.ConfigException, OSError) as error:
            where = self._kubeconfig or "in-cluster credentials"
            # The library's text may quote the file, so only its kind is told.
            message = f"can't use {where}: {type(error).__name__}"
            raise Unreachable(message, maybe_done=False) from None
        self._configuration = configuration


def _host(configuration: Configuration) -> str:
    return (configuration.host or "").rstrip("/")


def _tls(configuration: Configuration) -> ssl.SSLContext | None:
    if not _host(configuration).startswith("https:"):
        return None
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
