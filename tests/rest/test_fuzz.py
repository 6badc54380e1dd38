"""Whatever is sent: a 4xx of the one shape or a success, never a 5xx."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .platform import Platform

QUICK = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
FIELDS = (
    *("name", "image", "gpu_model", "gpu_count", "cpu", "memory", "ephemeral_storage_gib"),
    *("env", "ssh_pubkey", "cmd", "stdin", "timeout_seconds", "other"),
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["2", "16Gi", "rtx4090", "kgpu-pytorch:latest", "rent", "1e9", "0.5", "\0"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
bodies = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=9), values, max_size=5)
paths = st.sampled_from(
    [
        (m, f"/v1/pods{p}")
        for m, p in (("POST", ""), ("PATCH", "/gpu-a-1-abcdef"), ("POST", "/gpu-a-1-abcdef/exec"))
    ]
)


@QUICK
@given(where=paths, body=bodies | values)
async def test_any_document(platform: Platform, where: tuple[str, str], body: Any) -> None:
    user = await platform.user(credits_left=1, email="fuzz@example.org")
    data = json.dumps(body).encode("utf-8", "surrogatepass")
    reply = await platform.api.call(*where, token=user.token, data=data)
    assert 400 <= reply.status < 500


@QUICK
@given(where=paths, data=st.binary(max_size=200))
async def test_any_bytes(platform: Platform, where: tuple[str, str], data: bytes) -> None:
    user = await platform.user(credits_left=1, email="fuzz@example.org")
    reply = await platform.api.call(*where, token=user.token, data=data)
    assert 400 <= reply.status < 500


@QUICK
@given(path=st.text(st.characters(codec="latin-1", exclude_characters="?#\r\n"), max_size=40))
async def test_any_path(platform: Platform, path: str) -> None:
    user = await platform.user(credits_left=1, email="fuzz@example.org")
    reply = await platform.api.call("GET", "/v1/pods/" + path, token=user.token)
    assert reply.status in (200, 400, 404)
