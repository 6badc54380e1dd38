"""A plain HTTP client that holds every answer to what all answers have in common."""

import io
import json
import re
from dataclasses import dataclass
from typing import Any

import aiohttp
import jsonschema

from .document import DOCUMENT


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: Any

    @property
    def code(self) -> str | None:
        return self.body.get("code") if isinstance(self.body, dict) else None

    @property
    def fields(self) -> list[str]:
        return [error["field"] for error in self.body.get("errors", [])]


class Api:
    def __init__(self, session: aiohttp.ClientSession, root: str) -> None:
        self.session = session
        self.root = root

    async def call(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: Any = None,
        data: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if body is not None:
            data = json.dumps(body).encode()
        if data is not None and "Content-Type" not in sent:
            sent["Content-Type"] = "application/json"
        # aiohttp's client warns of large bytes, but not of a file that holds them.
        sent_data = None if data is None else io.BytesIO(data)
        skip = () if data is not None else ("Content-Type",)
        async with self.session.request(
            method, self.root + path, data=sent_data, headers=sent, skip_auto_headers=skip
        ) as response:
            raw = await response.read()
            reply = checked(response.status, dict(response.headers), raw, method)
            check_described(method, path.partition("?")[0], reply)
            return reply


def checked(status: int, headers: dict[str, str], raw: bytes, method: str = "GET") -> Reply:
    trace = headers["X-Request-ID"]
    assert re.fullmatch(r"[0-9a-f]{16}", trace)
    assert "aiohttp" not in headers["Server"]
    body = json.loads(raw) if raw or method != "HEAD" else None
    if status >= 400 and body is not None:
        check_problem(status, headers, body)
    elif body is not None:
        assert headers["Content-Type"].split(";")[0] == "application/json"
    return Reply(status, headers, body)


def check_described(method: str, path: str, reply: Reply) -> None:
    """Hold an answer to the API's own description, if that has the path and the method."""
    operation = operation_of(method, path)
    if operation is None or reply.body is None:
        return
    described = operation["responses"].get(str(reply.status))
    assert described, f"{method} {path}: a {reply.status} is not described"
    content = described["content"][reply.headers["Content-Type"].partition(";")[0]]
    schema = {**content["schema"], "components": DOCUMENT["components"]}
    jsonschema.validate(reply.body, schema, jsonschema.Draft202012Validator)
    if reply.status >= 400:
        assert reply.code in content["examples"], f"{method} {path}: {reply.code} is not described"


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    for template, operations in DOCUMENT["paths"].items():
        if re.fullmatch("/v1" + re.sub(r"\{\w+\}", "[^/]+", template), path):
            found: dict[str, Any] | None = operations.get(method.lower())
            return found
    return None


def check_problem(status: int, headers: dict[str, str], body: Any) -> None:
    assert headers["Content-Type"].split(";")[0] == "application/problem+json"
    assert {"type", "title", "status", "detail", "code"} <= set(body)
    assert set(body) <= {"type", "title", "status", "detail", "code", "errors", "trace_id"}
    assert body["status"] == status
    assert body["detail"]
    assert "Traceback" not in body["detail"]
    assert ("trace_id" in body) == (status >= 500)
    if status >= 500:
        assert body["trace_id"] == headers["X-Request-ID"]
    if status == 401:
        assert headers["WWW-Authenticate"].startswith("Bearer")
    for error in body.get("errors", []):
        assert set(error) == {"field", "message"}
