"""The three kinds of patch: JSON (RFC 6902), merge (RFC 7396) and Kubernetes' strategic merge."""

import copy
from collections.abc import Callable
from typing import Any

import jsonpatch

from kgpud.localcluster import schema
from kgpud.localcluster.errors import ApiError, bad_request, unsupported_media_type
from kgpud.localcluster.registry import Document

# By which field the items of a list are told apart; other lists are replaced as a whole.
_KEYS = {
    "conditions": "type",
    "containers": "name",
    "env": "name",
    "ephemeralContainers": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ownerReferences": "uid",
    "ports": "containerPort",
    "secrets": "name",
    "taints": "key",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
# Lists of plain values that grow by a patch.
_SETS = ("finalizers",)
_DELETE, _ORDER, _RETAIN = "$deleteFromPrimitiveList/", "$setElementOrder/", "$retainKeys"


def apply(document: Document, body: bytes, media: str) -> Document:
    """Return a patched copy of an object. ApiError 400, 415 or 422 for a patch that can't be."""
    way = WAYS.get(media)
    if way is None:
        raise unsupported_media_type()
    try:
        patch = schema.parse(body)
    except ValueError as error:
        raise bad_request(f"error decoding patch: {error}") from None
    patched = way(document, patch)
    if not isinstance(patched, dict) or not isinstance(patched.get("metadata"), dict):
        raise _unprocessable()
    return patched


def _json(document: Document, patch: Any) -> Any:  # noqa: ANN401  (any JSON)
    if not isinstance(patch, list):
        words = "json: cannot unmarshal object into Go value of type jsonpatch.Patch"
        raise bad_request(words)
    try:
        return jsonpatch.apply_patch(document, patch)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, KeyError):
        raise _unprocessable() from None


def _unprocessable() -> ApiError:
    said = "the server rejected our request due to an error in our request"
    return ApiError(422, "Invalid", said, {})


def merge(target: Any, patch: Any) -> Any:  # noqa: ANN401  (any JSON)
    """Return what RFC 7396 makes of `target`, which stays as it is."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def _strategic(document: Document, patch: Any) -> Any:  # noqa: ANN401  (any JSON)
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: json: cannot unmarshal into Go value")
    return _merged(copy.deepcopy(document), patch)


def _merged(target: Any, patch: Document) -> Document:  # noqa: ANN401  (any JSON)
    directive = patch.get("$patch")
    if directive == "delete":
        return {}
    merged = {} if directive == "replace" or not isinstance(target, dict) else target
    if isinstance(patch.get(_RETAIN), list):
        merged = {key: one for key, one in merged.items() if key in patch[_RETAIN]}
    for key, value in patch.items():
        if key.startswith(_DELETE):
            _take_out(merged, key.removeprefix(_DELETE), value)
        elif not key.startswith("$"):
            _put(merged, key, value)
    for key, value in patch.items():
        if key.startswith(_ORDER):
            _order(merged, key.removeprefix(_ORDER), value)
    return merged


def _put(target: Document, key: str, value: Any) -> None:  # noqa: ANN401  (any JSON)
    if value is None:
        target.pop(key, None)
    elif isinstance(value, dict):
        target[key] = _merged(target.get(key), value)
    elif isinstance(value, list) and _is_keyed(key, value):
        target[key] = _merged_list(target.get(key) or [], value, _KEYS[key])
    elif isinstance(value, list) and key in _SETS:
        before = target.get(key) or []
        target[key] = [*before, *(one for one in value if one not in before)]
    else:
        target[key] = value


def _is_keyed(key: str, value: list[Any]) -> bool:
    return key in _KEYS and all(isinstance(one, dict) for one in value)


def _merged_list(before: list[Any], patch: list[Document], key: str) -> list[Any]:
    if any(one.get("$patch") == "replace" for one in patch):
        return [one for one in patch if "$patch" not in one]
    merged = list(before)
    for one in patch:
        if key not in one:
            raise bad_request(f"map: {one} does not contain declared merge key: {key}")
        found = [at for at, old in enumerate(merged) if old.get(key) == one[key]]
        if one.get("$patch") == "delete":
            merged = [old for old in merged if old.get(key) != one[key]]
        elif found:
            merged[found[0]] = _merged(merged[found[0]], one)
        else:
            merged.append(_merged({}, one))
    return merged


def _take_out(target: Document, key: str, values: Any) -> None:  # noqa: ANN401  (any JSON)
    if isinstance(target.get(key), list) and isinstance(values, list):
        target[key] = [one for one in target[key] if one not in values]


def _order(target: Document, key: str, wanted: Any) -> None:  # noqa: ANN401  (any JSON)
    """Put a list's items in the order the patch gives; others keep their place at the end."""
    items = target.get(key)
    if not isinstance(items, list) or not isinstance(wanted, list):
        return
    field = _KEYS.get(key)
    ranks = [one.get(field) if field and isinstance(one, dict) else one for one in wanted]

    def rank(item: Any) -> int:  # noqa: ANN401  (any JSON)
        name = item.get(field) if field and isinstance(item, dict) else item
        return ranks.index(name) if name in ranks else len(ranks)

    target[key] = sorted(items, key=rank)


WAYS: dict[str, Callable[[Document, Any], Any]] = {
    "application/json-patch+json": _json,
    "application/merge-patch+json": merge,
    "application/strategic-merge-patch+json": _strategic,
}
