"""What an operator can set: one tree of dataclasses, read from TOML, checked as a whole.

`config/kgpud.toml` shows every setting with its default. A key that is not a field here is an
error, so that a misspelt limit never goes unnoticed.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, Strict, TypeAdapter, ValidationError

from gateway.settings import Rhythm
from kgpud.address import Address
from kgpud.catalog_settings import CREDITS_LIMIT, ClassName, GpuClass, Images, menu
from kgpud.cluster_settings import Kubernetes, Network, Pods
from kgpud.http_settings import Http
from kgpud.life_settings import Life
from kgpud.object_settings import Objects
from kgpud.paths import AbsolutePath
from kgpud.sign_in_settings import SignIn
from kgpud.ssh_settings import Ssh

__all__ = ["DEFAULT_FILE", "Address", "Config", "ConfigError", "GpuClass", "load"]

#: Where the commands look for the configuration that nobody named.
DEFAULT_FILE = Path("/etc/kgpud/kgpud.toml")

_CLOSED = ConfigDict(extra="forbid")


class ConfigError(Exception):
    """A configuration that can't be used: `problems` are lines that name the file and the key."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _host(value: str) -> str:
    if re.search(r"[\s/@\[\]]", value) or value.count(":") == 1:
        raise ValueError("must be a host alone, without a port")
    return value


def _url(value: str) -> str:
    if not value:
        return value
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise ValueError("must be http(s)://HOST[:PORT] without a path")
    # Reading the port is what makes urlsplit check it.
    if parts.query or parts.fragment or parts.username or parts.port == 0:
        raise ValueError("must be http(s)://HOST[:PORT] and nothing more")
    return value.rstrip("/")


@dataclass(frozen=True)
class Drain:
    """How the daemon stops."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    #: Seconds that open sessions may go on after SIGTERM.
    seconds: Annotated[int, Strict(), Field(ge=0, le=86400)] = 30


@dataclass(frozen=True)
class Gateway:
    """How the bastion serves clients."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    #: Who answers ``scp -O``: the bastion's own engine, or the pod's scp, byte for byte.
    scp: Literal["engine", "passthrough"] = "engine"
    #: Seconds between pings on every stream to a pod …
    ping_seconds: Annotated[float, Strict(), Field(ge=0.1, le=3600)] = Rhythm.seconds
    #: … and how many may go unanswered in a row before the stream counts as broken.
    pings_missed: Annotated[int, Strict(), Field(ge=1, le=1000)] = Rhythm.missed


@dataclass(frozen=True)
class Log:
    """What the daemon says of itself on stderr."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    #: The least important lines that are still written.
    level: Literal["debug", "info", "warning", "error"] = "info"


@dataclass(frozen=True)
class Config:
    """Everything an operator can set."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    #: The folder of the database, host key and secrets.
    state: AbsolutePath = Path("/var/lib/kgpud")
    #: Where users reach the REST API, without /v1; "" is http:// and the address it listens on.
    public_url: Annotated[str, AfterValidator(_url)] = ""
    #: The host that users are told to ssh to; "" is public_url's, else the one it listens on.
    ssh_host: Annotated[str, AfterValidator(_host)] = ""
    #: The port that users are told to ssh to; 0 is the one it listens on.
    ssh_port: Annotated[int, Strict(), Field(ge=0, le=65535)] = 0
    #: Credits that an account gets once, when it is approved.
    trial_credits: Annotated[int, Strict(), Field(ge=0, le=CREDITS_LIMIT)] = 100_000
    #: GPUs that a new account may rent at the same time.
    quota_gpus: Annotated[int, Strict(), Field(ge=0, le=10_000)] = 4
    #: Pods without a GPU that a new account may rent at the same time.
    quota_cpu_pods: Annotated[int, Strict(), Field(ge=0, le=10_000)] = 4
    http: Http = Http()
    ssh: Ssh = Ssh()
    cluster: Kubernetes = Kubernetes()
    pods: Pods = Pods()
    rentals: Life = Life()
    network: Network = Network()
    images: Images = Images()
    #: The menu by class, as workers are labelled ``kgpu.net/gpu-model`` or known by a product.
    #: Tables in a file replace this one: what they leave out can't be rented.
    gpu: Mapping[ClassName, GpuClass] = field(default_factory=menu)
    objects: Objects = Objects()
    gateway: Gateway = Gateway()
    drain: Drain = Drain()
    log: Log = Log()
    sign_in: SignIn = SignIn()

    @classmethod
    def dev(
        cls,
        state: Path,
        *,
        http: Address,
        ssh: Address,
        kubeconfig: Path,
        gpu_models: Sequence[str],
    ) -> "Config":
        """Return the settings of a daemon on its embedded local cluster.

        All that it has can be rented: what the default menu lacks costs what an rtx4090 does.
        """
        return cls(
            state=state.absolute(),
            # Whoever tries things out polls as they like.
            http=Http(http, account_calls_per_minute=0),
            ssh=Ssh(ssh),
            cluster=Kubernetes(kubeconfig.absolute()),
            gpu=menu(*gpu_models),
            images=Images(local=("kgpu-pytorch:latest", "bare:latest")),
            # The pods end with the daemon: there is nothing to wait for.
            drain=Drain(seconds=0),
        )

    def api_base(self, listening: Address) -> str:
        """Return the URL that users put before every path, given where HTTP really listens."""
        return f"{self.public_url or f'{self.http.scheme}://{listening.reachable()}'}/v1"

    def ssh_address(self, listening: Address) -> Address:
        """Return where users are told to ssh to, given where the bastion really listens."""
        public = urlsplit(self.public_url).hostname if self.public_url else None
        host = self.ssh_host or public or listening.reachable().host
        return Address(host, self.ssh_port or listening.port)


_SCHEMA = TypeAdapter(Config)


def load(path: Path) -> Config:
    """Read and check a TOML file. Raises ConfigError that names the file and every bad key."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not TOML: {error}"]) from None
    try:
        config = _SCHEMA.validate_python(data)
    except ValidationError as errors:
        raise ConfigError([f"{path}: {_sentence(error)}" for error in errors.errors()]) from None
    if problems := list(_contradictions(config)):
        raise ConfigError([f"{path}: {problem}" for problem in problems])
    return config


def _contradictions(config: Config) -> Iterator[str]:
    if config.sign_in.issuer and not config.sign_in.client_id:
        yield "sign_in.client_id: is required with an issuer"
    if not config.images.allows(config.images.default):
        yield "images.default: is neither in images.local nor from one of images.allowed_registries"
    if config.objects.store == "s3" and not config.objects.s3.bucket:
        yield 'objects.s3.bucket: is required where objects.store is "s3"'
    classes: dict[str, str] = {}
    for name, gpu_class in config.gpu.items():
        for product in gpu_class.products:
            if classes.setdefault(product, name) != name:
                yield f"gpu.{name}.products: {product} is gpu.{classes[product]}'s already"


def _sentence(error: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    key = ".".join(str(part) for part in error["loc"] if part != "[key]")
    messages = {
        "unexpected_keyword_argument": "unknown setting",
        "extra_forbidden": "unknown setting",
        "missing": "is required",
        "dataclass_type": "must be a table",
        "dict_type": "must be a table",
        "tuple_type": "must be a list",
        "path_type": "must be a path in quotes",
        "int_type": "must be a whole number",
        "string_type": "must be a text in quotes",
        "string_too_short": "must not be empty",
    }
    message = messages.get(error["type"], error["msg"].removeprefix("Value error, "))
    return f"{key}: {message.replace('Input should be', 'must be')}"
