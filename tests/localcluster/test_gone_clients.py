"""Clients that leave before they have an answer, as a daemon's watches do when it hands over."""

import logging

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from kgpud.localcluster.access import statuses


async def test_a_client_that_left_too_soon_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    async def watch(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        response = web.StreamResponse()
        await response.prepare(request)
        return response

    app = web.Application(middlewares=[statuses])
    app.router.add_get("/", watch)
    with caplog.at_level(logging.INFO):
        async with TestServer(app) as server, aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectionError):
                await session.get(server.make_url("/"))
    assert [record.message for record in caplog.records if "rror" in record.message] == []
