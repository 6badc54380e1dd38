"""Every stored object, its versions, and what happened lately for those who watch.

A stored document is never changed in place: `replace` stores another one.
"""

import asyncio
import copy
import itertools
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]
Key = tuple[str, str]

_HISTORY = 1024
_FIRST_VERSION = 1000


def now() -> str:
    """Return this second in UTC as Kubernetes writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@dataclass(frozen=True)
class Change:
    """One event: `kind` ADDED, MODIFIED or DELETED; `before` is the document it replaced."""

    version: int
    kind: str
    document: Document
    before: Document | None


class _Collection:
    """The objects of one kind, and its last changes."""

    def __init__(self, version: int) -> None:
        self.objects: dict[Key, Document] = {}
        self.history: deque[Change] = deque(maxlen=_HISTORY)
        self.forgotten = version
        self.changed = asyncio.Event()

    def put(self, change: Change) -> None:
        """Remember a change and wake those who wait for one."""
        if len(self.history) == _HISTORY:
            self.forgotten = self.history[0].version
        self.history.append(change)
        woken, self.changed = self.changed, asyncio.Event()
        woken.set()

    def since(self, version: int) -> list[Change]:
        """Return the changes after `version`, newest first."""
        late = itertools.takewhile(lambda one: one.version > version, reversed(self.history))
        return list(late)


class Registry:
    """Objects by plural, namespace and name; a cluster-scoped object's namespace is empty.

    One count of versions goes over all kinds; each kind remembers its own last 1024 changes, so
    that what is busy (events) makes nobody else's watch expire.
    """

    def __init__(self) -> None:
        self.version = _FIRST_VERSION
        self._kinds: dict[str, _Collection] = {}

    def create(self, plural: str, document: Document) -> Document:
        """Store a new object with uid, version and creation time; KeyError when it exists."""
        key = _key(document)
        if key in self._kind(plural).objects:
            raise KeyError(key)
        return self._store(plural, "ADDED", identified(document), None)

    def replace(
        self, plural: str, namespace: str, name: str, edit: Callable[[Document], None]
    ) -> Document:
        """Let `edit` change a copy of an object and store it as its next version.

        Raises KeyError when the object is gone. An edit that changes nothing makes no version.
        """
        before = self._kind(plural).objects[namespace, name]
        document = copy.deepcopy(before)
        edit(document)
        if document == before:
            return before
        return self._store(plural, "MODIFIED", document, before)

    def delete(self, plural: str, namespace: str, name: str) -> Document:
        """Take an object away; return its last version. KeyError when it is gone."""
        before = self._kind(plural).objects[namespace, name]
        document = copy.deepcopy(before)
        self._store(plural, "DELETED", document, before)
        del self._kind(plural).objects[namespace, name]
        return document

    def get(self, plural: str, namespace: str, name: str) -> Document | None:
        """Return an object, or None. Not to be changed."""
        return self._kind(plural).objects.get((namespace, name))

    def all(self, plural: str, namespace: str | None = None) -> list[Document]:
        """Return the objects of a kind in order of name, of one namespace or of all."""
        return _sorted(self._kind(plural).objects, namespace)

    def by_age(self, plural: str) -> list[Document]:
        """Return the objects of a kind of all namespaces, oldest first."""
        return list(self._kind(plural).objects.values())

    def all_at(self, plural: str, namespace: str | None, version: int) -> list[Document]:
        """Return what `all` returned when `version` was the latest; KeyError if forgotten."""
        kind = self._kind(plural)
        if version < kind.forgotten:
            raise KeyError(version)
        objects = dict(kind.objects)
        for change in kind.since(version):
            if change.before is None:
                objects.pop(_key(change.document), None)
            else:
                objects[_key(change.document)] = change.before
        return _sorted(objects, namespace)

    def oldest(self, plural: str) -> int:
        """Return the oldest version that a watch of this kind can start from."""
        return self._kind(plural).forgotten

    def since(self, plural: str, version: int) -> list[Change]:
        """Return the changes of a kind after `version`, oldest first."""
        return self._kind(plural).since(version)[::-1]

    async def wait_for(self, plural: str) -> None:
        """Return once an object of a kind has changed after this call began."""
        await self._kind(plural).changed.wait()

    def _kind(self, plural: str) -> _Collection:
        if plural not in self._kinds:
            self._kinds[plural] = _Collection(_FIRST_VERSION)
        return self._kinds[plural]

    def _store(
        self, plural: str, kind: str, document: Document, before: Document | None
    ) -> Document:
        self.version += 1
        document["metadata"]["resourceVersion"] = str(self.version)
        collection = self._kind(plural)
        collection.objects[_key(document)] = document
        collection.put(Change(self.version, kind, document, before))
        return document


def _key(document: Document) -> Key:
    metadata = document["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _sorted(objects: dict[Key, Document], namespace: str | None) -> list[Document]:
    found = [(key, one) for key, one in objects.items() if namespace in (None, key[0])]
    return [document for _key, document in sorted(found, key=lambda pair: pair[0])]


def identified(document: Document) -> Document:
    """Return a copy with a uid and a creation time."""
    document = copy.deepcopy(document)
    document["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
    return document
