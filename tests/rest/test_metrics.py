"""What a monitoring system reads of the daemon."""

from prometheus_client.parser import text_string_to_metric_families

from gateway.protocols import SessionClosed

from .maintainer import Maintainer
from .platform import Platform

Samples = dict[tuple[str, ...], float]


async def samples(maintainer: Maintainer) -> Samples:
    """Return each sample by its name and its labels' values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(await told(maintainer))
        for sample in family.samples
    }


async def told(maintainer: Maintainer) -> str:
    api = maintainer.platform.api
    headers = {"Authorization": f"Bearer {maintainer.user.token}"}
    async with api.session.get(f"{api.root}/v1/admin/metrics", headers=headers) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
        return await response.text()


async def test_how_things_stand(platform: Platform, maintainer: Maintainer) -> None:
    before = await samples(maintainer)
    assert before["kgpud_cluster_connected",] == 1
    await platform.rent(maintainer.user)
    now = await samples(maintainer)
    new = ("kgpud_rentals", "Pending"), ("kgpud_rentals", "Running")
    assert sum(now[one] - before[one] for one in new) == 1
    menu = (await platform.api.call("GET", "/v1/gpu-models")).body
    for model in menu:
        assert now["kgpud_gpus", model["gpu_model"], "total"] == model["total"]


async def test_requests_and_sessions_are_counted(
    platform: Platform, maintainer: Maintainer
) -> None:
    before = await samples(maintainer)
    for path in ("/v1/pods/nobody-s", "/v1/pods/nobody-s", "/v1/me"):
        await platform.api.call("GET", path, token=maintainer.user.token)
    closed = SessionClosed("name", "pod", 70, 3000, 0, "exit")
    await platform.services.core.closed(closed)
    after = await samples(maintainer)
    missing = ("kgpud_http_requests_total", "GET", "/v1/pods/{pod_id}", "404")
    assert after[missing] - before.get(missing, 0) == 2
    timed = ("kgpud_http_request_seconds_count", "/v1/me")
    assert after[timed] - before.get(timed, 0) == 1
    for name, grew in {
        ("kgpud_ssh_sessions_ended_total", "exit"): 1,
        ("kgpud_ssh_bytes_total", "in"): 70,
        ("kgpud_ssh_bytes_total", "out"): 3000,
    }.items():
        assert after[name] - before.get(name, 0) == grew


async def test_nobodys_name_is_in_them(platform: Platform, maintainer: Maintainer) -> None:
    """Series are for ever: none may be made by what callers say."""
    for path in ("/v1/nothing-of-ours", "/odd?x=1", "/v1/pods/gpu-rent-1-abc"):
        await platform.api.call("GET", path, token=maintainer.user.token)
    said = await told(maintainer)
    for word in ("nothing-of-ours", "odd", "gpu-rent-1-abc", "grace@example.org"):
        assert word not in said
    user = await platform.user()
    reply = await platform.api.call("GET", "/v1/admin/metrics", token=user.token)
    assert (reply.status, reply.code) == (403, "forbidden_scope")
