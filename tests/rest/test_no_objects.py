"""An installation without an object store says so."""

import pytest

from .platform import Platform


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("POST", ""),
        ("GET", "/obj_0123456789abcdef01234567"),
        ("DELETE", "/obj_0123456789abcdef01234567"),
        ("POST", "/obj_0123456789abcdef01234567/complete"),
    ],
)
async def test_501(platform: Platform, method: str, path: str) -> None:
    user = await platform.user()
    reply = await platform.api.call(method, f"/v1/objects{path}", token=user.token)
    assert (reply.status, reply.code) == (501, "objects_disabled")
