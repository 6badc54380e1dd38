"""Somebody who may call `/v1/admin/*`."""

from typing import Any

from .client import Reply
from .platform import Platform, User


class Maintainer:
    """A maintainer, and calls with their token."""

    def __init__(self, platform: Platform, user: User) -> None:
        self.platform, self.user = platform, user

    async def call(self, method: str, path: str, body: Any = None) -> Reply:
        return await self.platform.api.call(
            method, f"/v1/admin{path}", token=self.user.token, body=body
        )

    async def done(self, method: str, path: str, body: Any = None) -> Any:
        reply = await self.call(method, path, body)
        assert reply.status == 200, reply.body
        return reply.body
