"""The `[sign_in]` table: how people get into the dashboard."""

from dataclasses import dataclass
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, StringConstraints

from kgpud.paths import OptionalPath


def _issuer(value: str) -> str:
    parts = urlsplit(value)
    local = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if value and (parts.scheme != "https" and not (parts.scheme == "http" and local)):
        raise ValueError("must be https://HOST[/PATH], as the provider itself names its issuer")
    return value


@dataclass(frozen=True)
class SignIn:
    """How people get into the dashboard; one-time links always work."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    #: An OpenID Connect provider's issuer, exactly as it names itself; "" for none. Its callback
    #: address is public_url and /sign-in/callback.
    issuer: Annotated[str, AfterValidator(_issuer)] = ""
    #: What people call the provider.
    name: str = "your organisation"
    #: The client's id at the provider.
    client_id: str = ""
    #: The file that holds the client's secret; None ("" in a file) for a public client.
    client_secret_file: OptionalPath = None
    #: Domains of verified e-mail addresses whose accounts need no maintainer's approval.
    approved_domains: tuple[Annotated[str, StringConstraints(pattern=r"^[^@\s]+$")], ...] = ()

    def client_secret(self) -> str | None:
        """Read the client's secret; None for a public client. Raises OSError."""
        file = self.client_secret_file
        return None if file is None else file.read_text(encoding="utf-8").strip()
