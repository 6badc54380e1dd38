"""Objects and patches as they are read: fields, types, merges. No server is needed."""

import contextlib
import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgpud.localcluster import bodies, patches, protobuf, quantity, rules, schema
from kgpud.localcluster.errors import ApiError
from kgpud.localcluster.forms import accepted
from kgpud.localcluster.kinds import KINDS, PODS
from kgpud.localcluster.selectors import selector

from . import client_schemas
from .clusters import Document, pod

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=12,
)
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"


def test_every_field_that_the_client_knows_is_known() -> None:
    stored = json.loads(client_schemas.FILE.read_text())
    for name, fields in client_schemas.schemas().items():
        assert fields.items() <= stored[name].items(), name
    assert {kind.name for kind in KINDS} <= stored.keys()


def _full(type_: str, depth: int) -> Any:
    """Return a value of a type with every field, some levels deep."""
    if type_.startswith("[]"):
        return [_full(type_[2:], depth)]
    if type_.startswith("map[string]"):
        return {"key": _full(type_.removeprefix("map[string]"), depth)}
    samples = {
        "string": "x", "bool": True, "int32": 1, "int64": 2**40, "Quantity": "1Gi", "float64": 1.5,
        "Time": "2026-01-01T00:00:00Z", "IntOrString": 80, "bytes": "eA==", "any": {},
    }  # fmt: skip
    if type_ in samples:
        return samples[type_]
    stored = json.loads(client_schemas.FILE.read_text())
    if depth == 0:
        return {}
    return {name: _full(field, depth - 1) for name, field in stored[type_].items()}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_an_object_with_every_field_is_read_whole(kind: Any) -> None:
    document = _full(kind.name, 3) | {"kind": kind.name, "apiVersion": kind.api_version}
    read = bodies.decoded(document, kind, "Strict").document
    assert {**read, "metadata": None} == {**document, "metadata": None}
    strange = copy.deepcopy(document)
    strange["metadata"]["managedFields"][0]["nope"] = 1
    with pytest.raises(ApiError, match=r'unknown field "metadata.managedFields\[0\].nope"'):
        bodies.decoded(strange, kind, "Strict")


def _answered(work: Callable[[], object]) -> int:
    """Return the code that a client would get."""
    try:
        work()
    except ApiError as error:
        return error.code
    return 200


def _create(document: Document) -> None:
    read = bodies.decoded(document, PODS, "Ignore").document
    completed = rules.completed(PODS, read)
    rules.require_valid(PODS, completed)
    rules.require_valid(PODS, rules.completed(PODS, read), completed)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in items:
            yield from _places(one, (*path, key))


FULL_POD = _full("Pod", 6) | {"kind": "Pod", "apiVersion": "v1"}
SPEC_PLACES = [
    place for place in _places(FULL_POD) if place[:1] in (("spec",), ("metadata",)) and place
]


@settings(max_examples=400)
@given(st.sampled_from(SPEC_PLACES), JSON_VALUES)
def test_a_pod_with_anything_anywhere_is_taken_or_refused(place: Any, value: Any) -> None:
    document = copy.deepcopy(FULL_POD)
    part = document
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value
    assert _answered(lambda: _create(document)) in (200, 400, 422)


@given(JSON_VALUES)
def test_whatever_is_sent_as_an_object_is_refused(value: Any) -> None:
    assert _answered(lambda: _create({"kind": "Pod", "spec": value})) in (400, 422)


@given(st.dictionaries(st.text(max_size=5), JSON_VALUES), JSON_VALUES)
def test_a_merge_patch_is_what_the_rfc_says(target: Document, patch: Any) -> None:
    before = copy.deepcopy(target)
    merged = patches.merge(target, patch)
    assert target == before
    assert patches.merge(merged, patch) == merged
    if isinstance(patch, dict):
        for key, value in patch.items():
            if value is None:
                assert key not in merged
            elif not isinstance(value, dict):
                assert merged[key] == value


@given(st.binary(max_size=200), st.sampled_from(sorted(patches.WAYS)))
def test_whatever_patch_is_sent_is_applied_or_refused(body: bytes, media: str) -> None:
    assert _answered(lambda: patches.apply(pod("x"), body, media)) in (200, 400, 422)


@given(JSON_VALUES, st.sampled_from(sorted(patches.WAYS)))
def test_whatever_json_is_sent_as_a_patch_is_applied_or_refused(patch: Any, media: str) -> None:
    target = pod("x")
    body = json.dumps(patch).encode()
    assert _answered(lambda: patches.apply(target, body, media)) in (200, 400, 422)
    assert target == pod("x")


def _patched(media: str, patch: Any, document: Document) -> Document:
    return patches.apply(document, json.dumps(patch).encode(), media)


def test_a_strategic_patch_merges_lists_by_their_keys() -> None:
    document = pod("x", env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])
    document["spec"]["containers"].append({"name": "side", "image": "y"})
    document["metadata"]["finalizers"] = ["a", "b"]
    patch = {
        "metadata": {"finalizers": ["c"], "$deleteFromPrimitiveList/finalizers": ["a"]},
        "spec": {
            "$setElementOrder/containers": [{"name": "side"}, {"name": "main"}],
            "containers": [
                {"name": "main", "env": [{"name": "A", "$patch": "delete"}, {"name": "C"}]},
                {"name": "side", "image": None},
            ],
            "tolerations": [{"operator": "Exists"}],
        },
    }
    patched = _patched(STRATEGIC, patch, document)
    side, main = patched["spec"]["containers"]
    assert side == {"name": "side"}
    assert main["env"] == [{"name": "B", "value": "2"}, {"name": "C"}]
    assert main["image"] == document["spec"]["containers"][0]["image"]
    assert sorted(patched["metadata"]["finalizers"]) == ["b", "c"]
    assert patched["spec"]["tolerations"] == [{"operator": "Exists"}]


def test_a_strategic_patch_replaces_and_retains_where_it_says_so() -> None:
    document = pod("x", env=[{"name": "A", "value": "1"}])
    patch: Document = {"spec": {"containers": [{"$patch": "replace"}, {"name": "new"}]}}
    assert _patched(STRATEGIC, patch, document)["spec"]["containers"] == [{"name": "new"}]
    document["spec"]["volumes"] = [{"name": "v", "emptyDir": {}}]
    patch = {"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "secret"],
                                   "secret": {"secretName": "s"}}]}}  # fmt: skip
    volumes = _patched(STRATEGIC, patch, document)["spec"]["volumes"]
    assert volumes == [{"name": "v", "secret": {"secretName": "s"}}]
    with pytest.raises(ApiError, match="merge key"):
        _patched(STRATEGIC, {"spec": {"containers": [{"image": "x"}]}}, document)


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        ([{"op": "test", "path": "/metadata/name", "value": "other"}], 422),
        ([{"op": "remove", "path": "/nope"}], 422),
        ([{"op": "add"}], 422),
        ([{"op": "fly", "path": "/metadata"}], 422),
        ([{"op": "remove", "path": "/metadata"}], 422),
        ({"op": "remove"}, 400),
    ],
)
def test_a_json_patch_that_does_not_fit_is_refused(patch: Any, code: int) -> None:
    with pytest.raises(ApiError) as raised:
        _patched(JSON_PATCH, patch, pod("x"))
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "unexpected end of JSON input"),
        (b"  ", "unexpected end of JSON input"),
        (b'{"a"', "unexpected end of JSON input"),
        (b'{"a": "b', "unexpected end of JSON input"),
        (b"{a}", "invalid character 'a'"),
        (b"[" * 100_000, "invalid JSON"),
        (b"\xff", "invalid JSON"),
    ],
)
def test_what_is_no_json_is_told_in_gos_words(body: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        schema.parse(body)


def test_an_accept_header_is_read_by_its_weights() -> None:
    header = "application/json;q=0.5, application/json;as=Table;v=v1;g=meta.k8s.io, */*;q=x"
    read = [(one.media, one.parameters.get("as")) for one in accepted(header)]
    assert read == [
        ("application/json", "Table"), ("application/json", None), ("*/*", None)
    ]  # fmt: skip


@given(st.text(max_size=30), st.text(max_size=30))
def test_whatever_selector_is_sent_selects_or_is_refused(labels: str, fields: str) -> None:
    document = {"metadata": {"name": "x", "labels": {"a": "b"}}}
    assert _answered(lambda: selector(labels, fields)(document)) in (200, 400)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("500m", 500), ("2", 2000), (1.5, 1500), ("1Ki", 1_024_000), ("1e3", 1_000_000), ("5n", 1),
        ("-5n", 0), ("1E", 10**21), ("1e30", (2**63 - 1) * 1000), ("1e-99999", 1), ("0", 0),
    ],
)  # fmt: skip
def test_a_quantity_is_read(text: Any, wanted: int) -> None:
    assert quantity.thousandths(text) == wanted


@given(
    st.text(max_size=12) | st.from_regex(r"[+-]?[0-9.]{1,9}[eE][-+]?[0-9]{1,20}", fullmatch=True)
)
def test_whatever_text_is_a_quantity_or_none(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert abs(quantity.thousandths(text)) <= (2**63 - 1) * 1000


@given(st.sampled_from(["Secret", "RoleBinding", "TokenRequest", "Namespace"]), st.binary())
def test_whatever_protobuf_is_sent_is_read_or_refused(kind: str, data: bytes) -> None:
    envelope = b"\x0a" + bytes([len(kind) + 2]) + b"\x12" + bytes([len(kind)]) + kind.encode()
    raw = b"\x12" + bytes([len(data) % 128]) + data[:127]
    for body in (data, b"k8s\0" + data, b"k8s\0" + envelope + raw):
        with contextlib.suppress(ValueError):
            assert protobuf.read(body)["kind"] == kind
