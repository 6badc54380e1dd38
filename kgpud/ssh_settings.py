"""What an operator can set about the SSH front door: the ``[ssh]`` table."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field, Strict

from kgpud.address import Address, Listen


@dataclass(frozen=True)
class Ssh:
    """Where the SSH bastion listens, and what it keeps of its sessions."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    #: Every interface by default: users come straight to it.
    listen: Listen = Address("0.0.0.0", 2222)  # noqa: S104 - a bastion is for the outside
    #: Days that the audit trail's rows are kept.
    audit_days: Annotated[int, Strict(), Field(ge=1, le=36_500)] = 365
