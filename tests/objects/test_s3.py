"""What only a bucket has: stores that refuse, go away and come back, rules, ways to name it."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from kgpud.object_settings import S3, Objects
from kgpud.objects.s3_client import S3Client
from tests.objects.servers import Server, credentials, rclone
from tests.objects.world import World, random_bytes, small, world


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """A server that may be killed."""
    folder = tmp_path / "rclone"
    folder.mkdir()
    with rclone(folder) as server:
        yield server


def on(s3: S3, **changes: object) -> Objects:
    return small(Objects(store="s3", s3=replace(s3, **changes)))  # type: ignore[arg-type]


async def test_a_store_that_goes_and_comes_back(
    own: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with world(tmp_path, on(own.settings)) as here:
        got = await here.uploaded(b"data")
        pending = await here.create(size_bytes=4)
        own.stop()
        capsys.readouterr()
        for method, path in (
            ("GET", f"/{got['object_id']}"),
            ("GET", f"/{pending['object_id']}"),
            ("GET", ""),
            ("DELETE", f"/{got['object_id']}"),
        ):
            await says(here, capsys, method, path, "unreachable")
        # A single PUT is signed without the store; parts have to be begun there.
        assert (await here.call("POST", body={"size_bytes": 5})).status == 200
        refused = await here.call("POST", body={"size_bytes": 10 << 20})
        assert (refused.status, refused.code) == (502, "object_store_failed")
        assert len(await rows(here)) == 3
        own.start()
        # It was deleted as far as anybody can see; now its bytes are, too.
        gone = await here.call("DELETE", f"/{got['object_id']}")
        assert (gone.status, gone.body["state"]) == (200, "deleted")
        assert await here.put(pending["put_url"], b"data") == 200
        assert (await here.get(pending)).body["state"] == "ready"
        assert await here.stored() == {pending["object_id"]}


async def test_what_was_deleted_while_the_store_was_away_is_swept(
    own: Server, tmp_path: Path
) -> None:
    async with world(tmp_path, on(own.settings)) as here:
        got = await here.uploaded(b"data")
        own.stop()
        assert (await here.call("DELETE", f"/{got['object_id']}")).status == 502
        assert (await here.get(got)).status == 410
        own.start()
        assert await here.stored() == {got["object_id"]}
        await here.transit.sweep.once()
        assert await here.stored() == set()


async def test_wrong_credentials(
    seaweed: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = credentials(tmp_path, "VERYWRONGSECRET")
    async with world(tmp_path, on(seaweed.settings, credentials=wrong)) as here:
        made = await here.create()
        said = await says(here, capsys, "GET", f"/{made['object_id']}", "denied")
        assert "SignatureDoesNotMatch" in said


async def test_no_credentials(
    seaweed: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    empty = tmp_path / "empty"
    empty.write_text("[default]\n")
    settings = on(seaweed.settings, credentials=empty)
    async with world(tmp_path, settings) as here:
        await says(here, capsys, "POST", "", "denied")


async def test_no_bucket(
    seaweed: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with world(tmp_path, on(seaweed.settings, bucket="missing")) as here:
        made = await here.create()
        # A HEAD says 404 for a missing bucket as it does for a missing object.
        await says(here, capsys, "GET", f"/{made['object_id']}", "no_bucket")


async def test_corners(seaweed: Server, tmp_path: Path) -> None:
    """Two installations in one bucket neither see nor delete what is the other's."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    settings = on(seaweed.settings)
    async with world(tmp_path / "a", settings) as a, world(tmp_path / "b", settings) as b:
        ours, theirs = await a.uploaded(b"a"), await b.uploaded(b"b")
        await a.create(size_bytes=10 << 20)
        await b.transit.sweep.once()
        await a.transit.sweep.once()
        assert await a.stored() == {ours["object_id"]}
        assert await b.stored() == {theirs["object_id"]}
        assert len(await a.store.uploads()) == 1
        assert await b.store.uploads() == []


async def test_the_lifecycle_rule(seaweed: Server, tmp_path: Path) -> None:
    async with S3Client.open(seaweed.settings) as client:
        other = {
            "ID": "somebody's",
            "Status": "Enabled",
            "Filter": {"Prefix": "logs/"},
            "Expiration": {"Days": 30},
        }
        await client.call(
            "put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": [other]}
        )
        async with world(tmp_path, on(seaweed.settings)) as here:
            got = await here.uploaded()
            await here.store.prepare()
            await here.store.prepare()
            rules = (await client.call("get_bucket_lifecycle_configuration"))["Rules"]
        assert [rule["Expiration"]["Days"] for rule in rules] == [30, 2]
        prefix = rules[1]["Filter"]["Prefix"]
        assert prefix.startswith("kgpud/")
        assert f"/{prefix}{got['object_id']}?" in got["get_url"]
        # Our corner moves, and the rule with it.
        async with world(tmp_path, on(seaweed.settings, prefix="moved")) as here:
            await here.store.prepare()
            rules = (await client.call("get_bucket_lifecycle_configuration"))["Rules"]
        assert [rule["Filter"]["Prefix"].partition("/")[0] for rule in rules] == ["logs", "moved"]
        await client.call(
            "put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": [other]}
        )


async def test_a_store_that_is_away_at_first_is_made_fit_later(
    own: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def said(event: str) -> None:
        out = ""
        async with asyncio.timeout(20):
            while event not in out:
                await asyncio.sleep(0.01)
                out += capsys.readouterr().out

    own.stop()
    async with world(tmp_path, on(own.settings)) as here, asyncio.TaskGroup() as group:
        task = group.create_task(here.transit.sweep.run())
        await said("objects.sweep_failed")
        own.start()
        here.transit.sweep.wanted.set()
        await said("objects.no_lifecycle_rule")
        task.cancel()


async def test_a_store_without_lifecycle_rules(
    own: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with world(tmp_path, on(own.settings)) as here:
        await here.store.prepare()
        assert "objects.no_lifecycle_rule" in capsys.readouterr().out
        assert (await here.uploaded())["state"] == "ready"


@pytest.mark.parametrize(
    ("changes", "host", "path"),
    [
        ({"addressing": "path"}, "s3.example.org", "/data-1/"),
        ({"addressing": "virtual"}, "data-1.s3.example.org", "/"),
        (
            {"endpoint": "", "region": "eu-west-3", "addressing": "virtual"},
            "data-1.s3.eu-west-3.amazonaws.com",
            "/",
        ),
    ],
)
async def test_ways_to_name_a_bucket(
    tmp_path: Path, changes: dict[str, str], host: str, path: str
) -> None:
    there = S3(
        endpoint="https://s3.example.org", bucket="data-1", credentials=credentials(tmp_path)
    )
    async with world(tmp_path, on(there, **changes)) as here:
        made = await here.create(size_bytes=10)
        url = urlsplit(made["put_url"])
        assert url.hostname == host
        assert url.path.startswith(f"{path}kgpud/")
        query = parse_qs(url.query)
        assert query["X-Amz-SignedHeaders"] == ["content-length;host"]
        assert query["X-Amz-Expires"] == ["3600"]
        region = changes.get("region", "us-east-1")
        assert f"/{region}/s3/" in query["X-Amz-Credential"][0]
        # No checksum that curl would have to send, or that a store might not know.
        assert not any("checksum" in name.lower() for name in query)


async def test_a_download_from_the_store_that_breaks_off_is_tried_again(
    own: Server, tmp_path: Path
) -> None:
    """A checksum that can't be read is not a wrong one."""
    data = random_bytes(2_000_000)
    async with world(tmp_path, on(own.settings)) as here:
        made = await here.create(sha256="0" * 64)
        assert await here.put(made["put_url"], data) == 200
        await here.transit.sweep.once()
        own.stop()
        assert (await here.get(made)).status in (409, 502)
        own.start()
        reply = await here.get(made)
        assert (reply.status, reply.code) == (409, "checksum_mismatch")


async def says(
    here: World, capsys: pytest.CaptureFixture[str], method: str, path: str, kind: str
) -> str:
    """Hold a call to 502 with the cause in the log, and no secret in either; return the log."""
    await here.token()
    capsys.readouterr()
    reply = await here.call(method, path, {} if method == "POST" else None)
    assert (reply.status, reply.code) == (502, "object_store_failed"), reply.body
    log = capsys.readouterr().out
    (failed,) = [line for line in map(json.loads, log.splitlines()) if "exception" in line]
    assert failed["request_id"] == reply.body["trace_id"]
    assert f"StoreFailed: {kind}: " in failed["exception"]
    for secret in ("AKIDEXAMPLE", "wJalrXUtnFEMI", "WRONG", "X-Amz", "Credential="):
        assert secret not in log
        assert secret not in json.dumps(reply.body)
    return log


async def rows(here: World) -> list[object]:
    async with here.db.reading() as rx:
        return list(
            await rx.rows("SELECT * FROM objects WHERE ended_at IS NULL OR gone_at IS NULL")
        )
