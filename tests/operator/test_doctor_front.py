"""What the doctor finds where users come in, and of the object store."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from kgpud.config import Config
from kgpud.doctor import front, objects
from kgpud.doctor.findings import Verdict
from kgpud.object_settings import Folder, Objects
from kgpud.objects.s3_client import S3Client
from tests.e2e.serve import free_port
from tests.objects.servers import rclone

from .certificates import certificate
from .doctoring import found_by


@asynccontextmanager
async def website(context: ssl.SSLContext | None, status: int = 200) -> AsyncIterator[int]:
    async def menu(_request: web.Request) -> web.Response:
        return web.json_response([], status=status)

    app = web.Application()
    app.router.add_get("/v1/gpu-models", menu)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_an_api_that_users_can_not_reach_fails(patient_config: Config) -> None:
    closed = replace(patient_config, public_url=f"http://127.0.0.1:{free_port()}")
    assert (await found_by(front.api, closed))["API"].verdict is Verdict.FAIL
    assert (await found_by(front.tls, closed))["TLS"].verdict is Verdict.WARN
    async with website(None, status=502) as port:
        other = replace(patient_config, public_url=f"http://127.0.0.1:{port}")
        assert "HTTP 502" in (await found_by(front.api, other))["API"].detail
    assert (await found_by(front.api, patient_config))["API"].verdict is Verdict.SKIP
    assert (await found_by(front.bastion, closed))["bastion"].verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("days", "trusted", "verdict", "words"),
    [
        (90, True, Verdict.OK, "valid for 89 days"),
        (5, True, Verdict.WARN, "ends in 4 days"),
        (-1, True, Verdict.FAIL, "expired"),
        (90, False, Verdict.FAIL, "self-signed"),
    ],
)
async def test_the_certificate_that_users_meet_is_judged(
    tmp_path: Path,
    patient_config: Config,
    monkeypatch: pytest.MonkeyPatch,
    days: int,
    trusted: bool,
    verdict: Verdict,
    words: str,
) -> None:
    path = certificate(tmp_path, days)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    async with website(context) as port:
        config = replace(patient_config, public_url=f"https://127.0.0.1:{port}")
        found = (await found_by(front.tls, config))["TLS"]
    assert (found.verdict, words in found.detail) == (verdict, True), found


async def test_an_object_store_is_written_read_and_cleared(
    tmp_path: Path, patient_config: Config
) -> None:
    with rclone(tmp_path) as started:
        right = started.settings
        wrong = replace(right, bucket="not-there")
        away = replace(right, endpoint=f"http://127.0.0.1:{free_port()}")
        for settings, verdict in ((right, Verdict.OK), (wrong, Verdict.FAIL), (away, Verdict.FAIL)):
            config = replace(patient_config, objects=Objects(store="s3", s3=settings))
            found = (await found_by(objects.transit, config))["objects"]
            assert found.verdict is verdict, found
        async with S3Client.open(right) as client:
            assert not (await client.call("list_objects_v2")).get("Contents")


async def test_a_folder_for_objects_is_looked_at(patient_config: Config) -> None:
    assert (await found_by(objects.transit, patient_config))["objects"].verdict is Verdict.OK
    full = replace(patient_config, objects=Objects(folder=Folder(min_free_gb=1_000_000)))
    assert (await found_by(objects.transit, full))["objects"].verdict is Verdict.WARN
    none = replace(patient_config, objects=Objects(store="none"))
    assert (await found_by(objects.transit, none))["objects"].verdict is Verdict.SKIP
