"""What an operator can set about transit objects: the ``[objects]`` table."""

import re
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, Field, Strict

from kgpud.paths import OptionalPath

_CLOSED = ConfigDict(extra="forbid")


def _endpoint(value: str) -> str:
    if value and not re.fullmatch(r"https?://[A-Za-z0-9.\-\[\]:]+/?", value):
        raise ValueError("must be http(s)://HOST[:PORT] and nothing more")
    return value.rstrip("/")


def _bucket(value: str) -> str:
    if value and not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", value):
        raise ValueError("must be a bucket's name: lower case letters, digits, '.' and '-'")
    return value


def _prefix(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", value):
        raise ValueError("must be names of letters, digits, '_' and '-', joined by '/'")
    return value


Gigabytes = Annotated[float, Strict(), Field(gt=0, le=1_000_000)]
Mebibytes = Annotated[int, Strict(), Field(ge=5, le=5120)]


@dataclass(frozen=True)
class Folder:
    """The embedded store: a folder on the daemon's own disk."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    #: Its folder; None ("" in a file) is ``objects`` in the state folder.
    path: OptionalPath = None
    #: Gigabytes of the disk that uploads leave free, above all for the database.
    min_free_gb: Annotated[float, Strict(), Field(ge=0, le=1_000_000)] = 2


@dataclass(frozen=True)
class S3:
    """A bucket of any store that speaks S3's API."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    #: Where it is, e.g. ``https://ACCOUNT.r2.cloudflarestorage.com``; "" is AWS's own.
    endpoint: Annotated[str, AfterValidator(_endpoint)] = ""
    #: ``auto`` on R2, what SigV4 signs for on the others.
    region: Annotated[str, Field(min_length=1, max_length=63)] = "us-east-1"
    #: It must exist.
    bucket: Annotated[str, AfterValidator(_bucket)] = ""
    #: What every key begins with. Our corner is this and the installation's id.
    prefix: Annotated[str, AfterValidator(_prefix)] = "kgpud"
    #: How the bucket stands in URLs: after the host, or as part of its name.
    addressing: Literal["path", "virtual"] = "path"
    #: A file as in ``~/.aws/credentials``, its profile ``default``; None is botocore's own search.
    credentials: OptionalPath = None
    #: Set a rule on the bucket that deletes what is left in our corner after two days.
    lifecycle: bool = True


@dataclass(frozen=True)
class Objects:
    """Transit objects: which store, and how much of it."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    #: ``folder``, ``s3``, or ``none``: then /objects answers 501.
    store: Literal["folder", "s3", "none"] = "folder"
    #: Gigabytes (10^9 bytes) that an account's live objects may take.
    quota_gb: Gigabytes = 100
    #: Gigabytes of one object.
    object_gb: Gigabytes = 50
    #: Live objects of one account.
    count: Annotated[int, Strict(), Field(ge=1, le=100_000)] = 1000
    #: MiB that a single PUT may take; what is larger comes in parts. R2 takes 5 GiB less 5 MiB.
    put_mib: Mebibytes = 5115
    #: MiB of a part, at least.
    part_mib: Mebibytes = 128
    folder: Folder = Folder()
    s3: S3 = S3()
