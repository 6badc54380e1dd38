"""The forms an answer may take: the object itself, a table for people, or its metadata alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from kgpud.localcluster import tables
from kgpud.localcluster.errors import not_acceptable
from kgpud.localcluster.kinds import Kind
from kgpud.localcluster.registry import Document

JSON = "application/json"
_META = "meta.k8s.io/v1"
_WILD = ("*/*", "application/*")


@dataclass(frozen=True)
class Accepted:
    """One choice of an Accept header: its media type and parameters."""

    media: str
    parameters: dict[str, str] = field(default_factory=dict)


def accepted(header: str) -> list[Accepted]:
    """Read an Accept header into its choices, the most wanted first."""
    choices = []
    for number, part in enumerate(header.split(",")):
        media, *rest = (piece.strip() for piece in part.split(";"))
        pairs = (piece.partition("=") for piece in rest)
        parameters = {name.strip(): value.strip() for name, _sign, value in pairs}
        weight = _weight(parameters.pop("q", "1"))
        choices.append((-weight, number, Accepted(media, parameters)))
    return [choice for _weight, _number, choice in sorted(choices, key=lambda one: one[:2])]


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


class Form:
    """How objects are written: `as_` is Table, PartialObjectMetadata or empty (as they are)."""

    def __init__(self, kind: Kind, accept: str, include_object: str = "") -> None:
        """ApiError 406 when no choice of the Accept header is spoken here."""
        self._kind = kind
        self._include = include_object or "Metadata"
        for choice in accepted(accept or JSON):
            as_ = choice.parameters.get("as", "")
            if choice.media in _WILD or (choice.media == JSON and not as_):
                self.as_ = ""
                return
            version = f"{choice.parameters.get('g')}/{choice.parameters.get('v')}"
            if choice.media == JSON and version == _META:
                self.as_ = as_.removesuffix("List")
                if self.as_ in ("Table", "PartialObjectMetadata"):
                    return
        raise not_acceptable()

    def one(self, document: Document) -> Document:
        """Write one object."""
        if self.as_ == "Table":
            version = document["metadata"].get("resourceVersion", "")
            return self._table([document], {"resourceVersion": version})
        return partial(document) if self.as_ else document

    def many(self, documents: Sequence[Document], metadata: Document) -> Document:
        """Write a list; `metadata` is its own: version, and how it goes on."""
        if self.as_ == "Table":
            return self._table(documents, metadata)
        if self.as_:
            items = [partial(document) for document in documents]
            return {"kind": f"{self.as_}List", "apiVersion": _META, **_listed(metadata, items)}
        named = {"kind": f"{self._kind.name}List", "apiVersion": self._kind.api_version}
        items = [
            {key: value for key, value in document.items() if key not in ("kind", "apiVersion")}
            for document in documents
        ]
        return {**named, **_listed(metadata, items)}

    def event(self, document: Document, *, first: bool) -> Document:
        """Write the object of a watch event; a table has its columns in the first one alone."""
        written = self.one(document)
        if self.as_ == "Table" and not first:
            written["columnDefinitions"] = None
        return written

    def bookmark(self, document: Document) -> Document:
        """Write a bookmark, whose object is a version and nothing more."""
        if self.as_ == "Table":
            return {**self._table([], document["metadata"]), "columnDefinitions": None}
        return partial(document) if self.as_ else document

    def _table(self, documents: Sequence[Document], metadata: Document) -> Document:
        rows = []
        for document in documents:
            row: Document = {"cells": tables.cells(self._kind.plural, document)}
            if self._include != "None":
                whole = self._include == "Object"
                row["object"] = document if whole else partial(document)
            rows.append(row)
        columns = tables.columns(self._kind.plural)
        named = {"kind": "Table", "apiVersion": _META, "metadata": metadata}
        return {**named, "columnDefinitions": columns, "rows": rows}


def _listed(metadata: Document, items: list[Document]) -> Document:
    return {"metadata": metadata, "items": items}


def partial(document: Document) -> Document:
    """Return an object's metadata as an object of its own."""
    named = {"kind": "PartialObjectMetadata", "apiVersion": _META}
    return {**named, "metadata": document["metadata"]}
