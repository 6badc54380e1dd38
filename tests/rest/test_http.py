"""HTTP itself: paths, methods, types, sizes, ids, and requests that are no HTTP."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from kgpud.http_settings import Http

from .client import Reply, checked
from .platform import Platform


async def raw(platform: Platform, request: bytes) -> Reply:
    """Send bytes as they are and read one answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", platform.port)
    try:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers["Content-Length"]))
    finally:
        writer.close()
        await writer.wait_closed()
    return checked(int(head[0].split()[1]), headers, body)


@pytest.mark.parametrize("path", ["/v2/pods", "/v1", "/v1/pods/", "/v1/pods/a/b", "/v1/%00"])
async def test_an_unknown_path_is_404(platform: Platform, path: str) -> None:
    reply = await platform.api.call("GET", path)
    assert (reply.status, reply.code) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/v1/me", {"GET", "HEAD"}),
        ("PUT", "/v1/pods", {"GET", "HEAD", "POST"}),
        ("POST", "/v1/pods/a", {"DELETE", "GET", "HEAD", "PATCH"}),
        ("GET", "/v1/pods/a/exec", {"POST"}),
        ("OPTIONS", "/v1/gpu-models", {"GET", "HEAD"}),
        ("PROPFIND", "/v1/gpu-models", {"GET", "HEAD"}),
    ],
)
async def test_a_wrong_method_is_405_with_allow(
    platform: Platform, method: str, path: str, allow: set[str]
) -> None:
    reply = await platform.api.call(method, path)
    assert (reply.status, reply.code) == (405, "method_not_allowed")
    assert set(reply.headers["Allow"].split(", ")) == allow


@pytest.mark.parametrize("path", ["/v1/ssh-host-keys", "/v1/gpu-models"])
async def test_head_answers_without_a_body(platform: Platform, path: str) -> None:
    reply = await platform.api.call("HEAD", path)
    assert (reply.status, reply.body) == (200, None)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("text/plain", b"{}"),
        ("application/x-www-form-urlencoded", b""),
        ("application/json; charset=utf-16", b"{}"),
        ("nonsense", b"{}"),
    ],
)
async def test_a_wrong_content_type_is_415(platform: Platform, kind: str, data: bytes) -> None:
    user = await platform.user()
    reply = await platform.api.call(
        "POST", "/v1/pods", token=user.token, data=data, headers={"Content-Type": kind}
    )
    assert (reply.status, reply.code) == (415, "unsupported_media_type")
    await platform.check_nothing_came_of_it(user)


async def test_json_with_a_charset_is_json(platform: Platform) -> None:
    user = await platform.user()
    reply = await platform.api.call(
        "POST",
        "/v1/pods",
        token=user.token,
        data=b'{"cpu": "17"}',
        headers={"Content-Type": "Application/JSON; charset=UTF-8"},
    )
    assert reply.status == 422


async def test_a_compressed_body_is_415(platform: Platform) -> None:
    user = await platform.user()
    reply = await platform.api.call(
        "POST", "/v1/pods", token=user.token, data=b"xx", headers={"Content-Encoding": "gzip"}
    )
    assert reply.status in (400, 415)


async def test_a_body_in_a_coding_that_nobody_undoes_is_415(platform: Platform) -> None:
    user = await platform.user()
    reply = await raw(
        platform,
        b"POST /v1/pods HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\n"
        b"Content-Type: application/json\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
        b"2\r\n{}\r\n0\r\n\r\n" % user.token.encode(),
    )
    assert (reply.status, reply.code) == (415, "unsupported_media_type")
    await platform.check_nothing_came_of_it(user)


async def test_a_body_over_the_limit_is_413(platform: Platform) -> None:
    user = await platform.user()
    data = b" " * (1 << 20) + b"{}"
    reply = await platform.api.call("POST", "/v1/pods", token=user.token, data=data)
    assert (reply.status, reply.code) == (413, "body_too_large")
    await platform.check_nothing_came_of_it(user)


async def test_a_chunked_body_over_the_limit_is_413(platform: Platform) -> None:
    user = await platform.user()
    head = (
        f"POST /v1/pods HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {user.token}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()
    reply = await raw(platform, head + b"10000\r\n".join([b""] * 1) + chunks(17))
    assert (reply.status, reply.code) == (413, "body_too_large")


def chunks(count: int) -> bytes:
    return (b"10000\r\n" + b" " * 0x10000 + b"\r\n") * count


async def test_a_body_that_breaks_off_hurts_nobody(platform: Platform) -> None:
    user = await platform.user()
    head = (
        f"POST /v1/pods HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {user.token}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()
    reply = await raw(platform, head + b"zz\r\n")
    assert reply.status == 400
    await platform.check_nothing_came_of_it(user)


async def test_a_body_that_does_not_come_is_408(kubeconfig: Path, tmp_path: Path) -> None:
    async with Platform.on(kubeconfig, tmp_path, Http(body_seconds=1)) as platform:
        user = await platform.user()
        reply = await raw(
            platform,
            b"POST /v1/pods HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer %b\r\nContent-Length: 100\r\n\r\n{" % user.token.encode(),
        )
        assert (reply.status, reply.code) == (408, "request_timeout")
        await platform.check_nothing_came_of_it(user)


@pytest.mark.parametrize("begun", [b"", b"GET /v1/gpu-models HTTP/1.1\r\nHost: a\r\nX-"])
async def test_who_sends_no_head_is_not_waited_for(
    kubeconfig: Path, tmp_path: Path, begun: bytes
) -> None:
    async with Platform.on(kubeconfig, tmp_path, Http(idle_seconds=1)) as platform:
        reader, writer = await asyncio.open_connection("127.0.0.1", platform.port)
        writer.write(begun)
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(b"nonsense\r\n\r\n", id="no HTTP"),
        pytest.param(b"GET / HTTP/1.1\r\nA B: c\r\n\r\n", id="bad header"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", id="long"),
        pytest.param(b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", id="long path"),
        pytest.param(b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", id="no such method"),
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", id="no such version"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", id="bad length"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", id="TLS"),
    ],
)
async def test_what_is_not_http_is_a_400_of_the_same_shape(
    platform: Platform, request_: bytes
) -> None:
    reply = await raw(platform, request_)
    assert (reply.status, reply.code) == (400, "bad_request")


@pytest.mark.parametrize("path", [b"/v1/pods/\xff\xfe", b"/v1/pods/%ff", b"/v1/pods/a%00b"])
async def test_an_id_of_odd_bytes_is_404(platform: Platform, path: bytes) -> None:
    user = await platform.user()
    request = b"GET %b HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\n\r\n"
    reply = await raw(platform, request % (path, user.token.encode()))
    assert reply.status in (400, 404)


@pytest.mark.parametrize("token", [b"\xff\xfe", b"a b", b"kgpu_\xc3\xa4", b"a" * 4000])
async def test_a_token_of_odd_bytes_is_401(platform: Platform, token: bytes) -> None:
    reply = await raw(
        platform, b"GET /v1/me HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\n\r\n" % token
    )
    assert (reply.status, reply.code) == (401, "invalid_token")


ENCODINGS = [
    ("gzip", True),
    ("br, gzip;q=0.5", True),
    ("*", True),
    ("", False),
    ("gzip;q=0", False),
    ("*;q=0", False),
    ("identity", False),
    ("gzip;q=lots", False),
]


async def test_long_answers_are_compressed_for_who_takes_that(platform: Platform) -> None:
    for accepts, compressed in ENCODINGS:
        headers = {"Accept-Encoding": accepts}
        reply = await platform.api.call("GET", "/openapi.json", headers=headers)
        assert (reply.headers.get("Content-Encoding") == "gzip") == compressed, accepts
        assert reply.headers["Vary"] == "Accept-Encoding"
        short = await platform.api.call("GET", "/v1/gpu-models", headers=headers)
        assert "Content-Encoding" not in short.headers


async def test_a_minted_key_is_never_compressed(platform: Platform) -> None:
    user = await platform.user()
    reply = await platform.api.call(
        "POST",
        "/v1/pods",
        token=user.token,
        body={"gpu_count": 0, "name": "a" * 30},
        headers={"Accept-Encoding": "gzip"},
    )
    assert "private_key" in reply.body["ssh_access"]
    assert "Content-Encoding" not in reply.headers


async def test_other_sites_may_read_what_is_public_and_nothing_else(platform: Platform) -> None:
    user = await platform.user()
    headers = {"Origin": "https://elsewhere.example"}
    for path in ("/v1/gpu-models", "/v1/ssh-host-keys", "/openapi.json"):
        reply = await platform.api.call("GET", path, headers=headers)
        assert reply.headers["Access-Control-Allow-Origin"] == "*"
        assert reply.headers["Cache-Control"] == "no-cache"
    for path in ("/v1/me", "/v1/pods", "/v1/balance", "/nowhere"):
        reply = await platform.api.call("GET", path, token=user.token, headers=headers)
        assert "Access-Control-Allow-Origin" not in reply.headers
        assert reply.headers["Cache-Control"] == "no-store"


async def test_the_id_is_ours_and_fresh(platform: Platform) -> None:
    headers = {"X-Request-ID": "0123456789abcdef"}
    ids = set()
    for _ in range(3):
        reply = await platform.api.call("GET", "/v1/gpu-models", headers=headers)
        ids.add(reply.headers["X-Request-ID"])
    assert len(ids) == 3
    assert "0123456789abcdef" not in ids


@pytest.mark.parametrize("line", ["GET /openapi.json", "GET /nowhere", "PUT /v1/me", "GET /docs"])
async def test_who_expects_what_nobody_knows_is_told_so(platform: Platform, line: str) -> None:
    request = f"{line} HTTP/1.1\r\nHost: a\r\nExpect: wonders\r\n\r\n"
    reply = await raw(platform, request.encode())
    assert (reply.status, reply.code) == (417, "bad_request")


# What a proxy in front and we could take for two different things.
AMBIGUOUS = [
    pytest.param(b"Content-Length: 2\r\nTransfer-Encoding: chunked", id="two ways at once"),
    pytest.param(b"Transfer-Encoding: chunked\r\nContent-Length: 2", id="the other way round"),
    pytest.param(b"Content-Length: 2\r\nContent-Length: 0", id="two lengths"),
    pytest.param(b"Content-Length: 2, 2", id="a list of lengths"),
    pytest.param(b"Content-Length: +2", id="a signed length"),
    pytest.param(b"Content-Length: 0x2", id="a hexadecimal length"),
    pytest.param(b"Transfer-Encoding: xchunked", id="an unknown coding"),
    pytest.param(b"Transfer-Encoding: chunked, identity", id="chunked and not last"),
    pytest.param(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", id="chunked twice"),
    pytest.param(b"Transfer-Encoding : chunked", id="a space before the colon"),
    pytest.param(b"X: a\r\n Content-Length: 2", id="a folded header"),
    pytest.param(b"X: a\nContent-Length: 2", id="a bare line feed"),
    pytest.param(b"Host: b", id="two hosts"),
]


@pytest.mark.parametrize("headers", AMBIGUOUS)
async def test_no_request_is_smuggled_in(platform: Platform, headers: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", platform.port)
    writer.write(
        b"POST /v1/pods HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n%b\r\n\r\n"
        b"0\r\n\r\nGET /v1/gpu-models HTTP/1.1\r\nHost: a\r\n\r\n" % headers
    )
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert re.findall(rb"HTTP/1\.[01] (\d+)", answer) == [b"400"]
    assert b"X-Request-ID: " in answer


async def test_who_waits_for_100_continue_is_refused_before_sending(platform: Platform) -> None:
    reply = await raw(
        platform,
        b"POST /v1/pods HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
        b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n",
    )
    assert (reply.status, reply.code) == (401, "invalid_token")


async def test_who_waits_for_100_continue_gets_it(platform: Platform) -> None:
    user = await platform.user()
    reader, writer = await asyncio.open_connection("127.0.0.1", platform.port)
    writer.write(
        b"POST /v1/pods HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nConnection: close\r\n"
        b"Authorization: Bearer %b\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n"
        % user.token.encode()
    )
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b'{"cpu": "17"}')
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 422 ")


async def test_what_breaks_is_a_500_with_its_log_line(
    platform: Platform, capfd: pytest.CaptureFixture[str]
) -> None:
    user = await platform.user()
    await platform.break_the_database()
    reply = await platform.api.call("GET", "/v1/me", token=user.token)
    assert reply.status == 500
    assert reply.code == "internal"
    logged = "".join(capfd.readouterr())
    assert reply.body["trace_id"] in logged
    assert "Traceback" in logged
    assert user.token not in logged
    assert "sqlite" not in json.dumps(reply.body)
