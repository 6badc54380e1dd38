"""What a request brings in its body: an object to store, or the options of a deletion."""

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from kgpud.localcluster import protobuf, schema
from kgpud.localcluster.errors import Cause, bad_request, invalid, unknown_body, unsupported
from kgpud.localcluster.forms import JSON
from kgpud.localcluster.kinds import Kind
from kgpud.localcluster.registry import Document

_VALIDATIONS = ("Ignore", "Strict", "Warn")
_MOST_SHOWN = 100


@dataclass(frozen=True)
class Given:
    """A decoded object, and what its sender is warned of."""

    document: Document
    warnings: tuple[str, ...] = ()


def is_dry_run(request: web.Request) -> bool:
    """Whether nothing is to be stored. ApiError 422 for a dryRun that is none."""
    wanted = request.query.getall("dryRun", [])
    for one in wanted:
        if one != "All":
            raise _bad_option("dryRun", one, ("All",))
    return bool(wanted)


def _bad_option(field: str, value: str, choices: tuple[str, ...]) -> Exception:
    causes: list[Cause] = [unsupported(field, value, choices)]
    return invalid("CreateOptions", "", causes, "meta.k8s.io")


async def read_body(request: web.Request, wanted: str = "Review") -> Any:  # noqa: ANN401
    """Return the JSON of a request's body, or of its protobuf. ApiError 400 or 415."""
    body = await request.read()
    media = request.content_type if request.headers.get("Content-Type") else JSON
    if media not in (JSON, protobuf.MEDIA_TYPE):
        raise unknown_body()
    try:
        return protobuf.read(body) if media == protobuf.MEDIA_TYPE else schema.parse(body)
    except ValueError as error:
        shown = body.decode(errors="replace")[:_MOST_SHOWN]
        raise bad_request(
            f"the object provided is unrecognized (must be of type {wanted}): couldn't get "
            f"version/kind; json parse error: {error} ({shown})"
        ) from None


async def read_object(request: web.Request, kind: Kind) -> Given:
    """Return the object of `kind` in a request's body. ApiError 400, 415 or 422 if it is none."""
    document = await read_body(request, kind.name)
    if not isinstance(document, dict):
        raise bad_request(
            f"the object provided is unrecognized (must be of type {kind.name}): couldn't get "
            "version/kind; json parse error: json: cannot unmarshal into Go value of type struct"
        )
    return decoded(document, kind, request.query.get("fieldValidation", ""))


def decoded(document: Document, kind: Kind, validation: str) -> Given:
    """Check an object's kind and the types of its fields; unknown ones are refused or warned of.

    `validation` is Strict, Warn (also the default) or Ignore. ApiError 400 or 422.
    """
    if validation and validation not in _VALIDATIONS:
        raise _bad_option("fieldValidation", validation, _VALIDATIONS)
    _require_kind(document, kind)
    cannot = f'{kind.name} in version "v1" cannot be handled as a {kind.name}'
    try:
        unread = schema.unread(kind.name, document)
    except schema.WrongType as error:
        raise bad_request(f"{cannot}: {error}") from None
    if unread and validation == "Strict":
        raise bad_request(f"{cannot}: strict decoding error: {', '.join(unread)}")
    cleaned = schema.known(kind.name, document)
    # Empty maps and lists of metadata are not written (Go's omitempty).
    metadata = {key: one for key, one in (cleaned.get("metadata") or {}).items() if one}
    named = {"kind": kind.name, "apiVersion": kind.api_version, "metadata": metadata}
    return Given({**named, **cleaned, **named}, () if validation == "Ignore" else tuple(unread))


def _require_kind(document: Document, kind: Kind) -> None:
    found, version = document.get("kind"), document.get("apiVersion")
    if found not in (None, "", kind.name):
        raise bad_request(
            f'{found} in version "v1" cannot be handled as a {kind.name}: converting '
            f"(v1.{found}) to ({kind.internal}.{kind.name}): unknown conversion"
        )
    if version not in (None, "", kind.api_version):
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version "
            f"({kind.api_version})"
        )


@dataclass(frozen=True)
class DeleteOptions:
    """How an object is to be deleted; `grace` in seconds, None for the object's own."""

    grace: int | None = None
    uid: str | None = None
    version: str | None = None
    dry_run: bool = False


async def read_delete_options(request: web.Request) -> DeleteOptions:
    """Return the options in a DELETE's body or query. ApiError 400 for what is none."""
    options: Any = {}
    if request.can_read_body and (body := await request.read()).strip():
        try:
            options = schema.parse(body)
        except ValueError as error:
            raise bad_request(f"error decoding DeleteOptions: {error}") from None
    if not isinstance(options, dict):
        raise bad_request("error decoding DeleteOptions: an object is wanted")
    grace = options.get("gracePeriodSeconds", request.query.get("gracePeriodSeconds"))
    if grace is not None and not str(grace).lstrip("-").isdecimal():
        raise bad_request(f'strconv.ParseInt: parsing "{grace}": invalid syntax')
    conditions, wanted = options.get("preconditions") or {}, options.get("dryRun") or []
    if not isinstance(conditions, dict) or not isinstance(wanted, list):
        raise bad_request("error decoding DeleteOptions: preconditions and dryRun are no such type")
    dry = is_dry_run(request) or "All" in wanted
    return DeleteOptions(
        None if grace is None else max(0, int(grace)),
        conditions.get("uid"),
        conditions.get("resourceVersion"),
        dry,
    )
