"""Every stored object, its versions, and what happened lately for those who watch.

A stored document is never changed in place: `replace` stores another one.
"""

import asyncio
import copy
import itertools
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]
Key = tuple[str, str, str]

_HISTORY = 8192
_FIRST_VERSION = 1000
_METADATA_ORDER = (
    "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp"
)  # fmt: skip


def now() -> str:
    """Return this second in UTC as Kubernetes writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@dataclass(frozen=True)
class Change:
    """One event: `kind` ADDED, MODIFIED or DELETED; `before` is the document it replaced."""

    version: int
    plural: str
    kind: str
    document: Document
    before: Document | None


class Registry:
    """Objects by (plural, namespace, name); a cluster-scoped object's namespace is empty."""

    def __init__(self) -> None:
        self.version = _FIRST_VERSION
        self._objects: dict[Key, Document] = {}
        self._history: deque[Change] = deque(maxlen=_HISTORY)
        self._forgotten = _FIRST_VERSION
        self._changed = asyncio.Event()

    def create(self, plural: str, document: Document) -> Document:
        """Store a new object with uid, version and creation time; KeyError when it exists."""
        metadata = document["metadata"]
        key = (plural, metadata.get("namespace", ""), metadata["name"])
        if key in self._objects:
            raise KeyError(key)
        document = copy.deepcopy(document)
        document["metadata"] = _identity(document["metadata"])
        return self._store(key, "ADDED", document, None)

    def replace(
        self, plural: str, namespace: str, name: str, edit: Callable[[Document], None]
    ) -> Document:
        """Let `edit` change a copy of an object and store it as its next version.

        Raises KeyError when the object is gone. An edit that changes nothing makes no version.
        """
        key = (plural, namespace, name)
        before = self._objects[key]
        document = copy.deepcopy(before)
        edit(document)
        return before if document == before else self._store(key, "MODIFIED", document, before)

    def delete(self, plural: str, namespace: str, name: str) -> Document:
        """Take an object away; return its last version. KeyError when it is gone."""
        key = (plural, namespace, name)
        before = self._objects[key]
        document = copy.deepcopy(before)
        self._store(key, "DELETED", document, before)
        del self._objects[key]
        return document

    def get(self, plural: str, namespace: str, name: str) -> Document | None:
        """Return an object, or None. Not to be changed."""
        return self._objects.get((plural, namespace, name))

    def all(self, plural: str, namespace: str | None = None) -> list[Document]:
        """Return the objects of a kind in order of name, of one namespace or of all."""
        found = [
            (key, document)
            for key, document in self._objects.items()
            if key[0] == plural and namespace in (None, key[1])
        ]
        return [document for _key, document in sorted(found, key=lambda pair: pair[0])]

    def by_age(self, plural: str) -> list[Document]:
        """Return the objects of a kind of all namespaces, oldest first."""
        return [document for key, document in self._objects.items() if key[0] == plural]

    def is_forgotten(self, version: int) -> bool:
        """Whether changes after `version` are no longer all known."""
        return version < self._forgotten

    @property
    def oldest(self) -> int:
        """The oldest version that a watch can start from."""
        return self._forgotten

    def since(self, version: int) -> Iterator[Change]:
        """Return the changes after `version`, oldest first."""
        late = itertools.takewhile(lambda change: change.version > version, reversed(self._history))
        return reversed(list(late))

    async def wait(self) -> None:
        """Return once something has changed after this call began."""
        await self._changed.wait()

    async def wait_for(self, plural: str) -> None:
        """Return once an object of a kind has changed after this call began."""
        version = self.version
        while True:
            await self.wait()
            if any(change.plural == plural for change in self.since(version)):
                return
            version = self.version

    def _store(self, key: Key, kind: str, document: Document, before: Document | None) -> Document:
        self.version += 1
        document["metadata"]["resourceVersion"] = str(self.version)
        if len(self._history) == _HISTORY:
            self._forgotten = self._history[0].version
        self._objects[key] = document
        self._history.append(Change(self.version, key[0], kind, document, before))
        woken, self._changed = self._changed, asyncio.Event()
        woken.set()
        return document


def _identity(metadata: Document) -> Document:
    """Return metadata in the order the API server writes it, with what it adds."""
    metadata = {**metadata, "uid": str(uuid.uuid4()), "resourceVersion": ""}
    metadata["creationTimestamp"] = now()
    first = {name: metadata[name] for name in _METADATA_ORDER if name in metadata}
    return first | metadata
