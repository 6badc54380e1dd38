"""A rental's life over HTTP, and the shapes of every answer."""

import asyncio
import re

import asyncssh

from kgpud.clock import parse_rfc3339

from .platform import Platform

POD_FIELDS = {
    *("pod_id", "name", "phase", "ready", "pending_reason", "image", "gpu_model", "gpu_count"),
    *("cpu", "memory", "ephemeral_storage_gib", "price_per_hour_credits", "cost_credits", "node"),
    *(
        "created_at",
        "started_at",
        "ready_at",
        "ended_at",
        "end_reason",
        "end_detail",
        "low_balance_minutes",
        "idle",
        "ssh_access",
    ),
}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def key() -> tuple[str, str]:
    made = asyncssh.generate_private_key("ssh-ed25519")
    return made.export_public_key("openssh").decode(), made.get_fingerprint()


def hours_between(earlier: str, later: str) -> float:
    return (parse_rfc3339(later) - parse_rfc3339(earlier)) / 3_600_000


async def test_the_menu(platform: Platform) -> None:
    menu = (await platform.api.call("GET", "/v1/gpu-models")).body
    assert menu == [
        {"gpu_model": "rtx3080", "total": 1, "free": 1, "price_per_hour_credits": 300},
        {"gpu_model": "rtx3090", "total": 2, "free": 2, "price_per_hour_credits": 600},
        {"gpu_model": "v100", "total": 4, "free": 4, "price_per_hour_credits": 600},
        {"gpu_model": "rtx4090", "total": 1, "free": 1, "price_per_hour_credits": 1000},
        {"gpu_model": "rtx5090", "total": 1, "free": 1, "price_per_hour_credits": 1400},
    ]


async def test_me_balance_and_cluster(platform: Platform) -> None:
    user = await platform.user()
    me = (await platform.api.call("GET", "/v1/me", token=user.token)).body
    assert me == {
        "user_id": user.account_id,
        "email": user.email,
        "name": "Test",
        "role": "user",
        "status": "approved",
        "credits": 100_000,
        "burn_per_hour": 0,
        "lasts_until": None,
        "quota": {"gpus": 4, "gpus_used": 0, "cpu_pods": 4, "cpu_pods_used": 0},
    }
    balance = (await platform.api.call("GET", "/v1/balance", token=user.token)).body
    assert balance == {"credits": 100_000, "burn_per_hour": 0, "lasts_until": None}
    nodes = (await platform.api.call("GET", "/v1/cluster", token=user.token)).body
    fields = {"hostname", "gpu_model", "total", "busy", "free", "ready", "cordoned"}
    assert nodes
    assert all(set(node) == fields and node["ready"] for node in nodes)


async def test_renting_with_a_key_of_ones_own(platform: Platform) -> None:
    user = await platform.user()
    line, fingerprint = key()
    body = {"gpu_model": "v100", "gpu_count": 2, "ssh_pubkey": line + "\n", "name": "my-run"}
    reply = await platform.api.call("POST", "/v1/pods", token=user.token, body=body)
    assert reply.status == 200
    assert re.fullmatch(r"gpu-my-run-[0-9]{10}-[0-9a-f]{6}", reply.body.pop("pod_id"))
    assert reply.body == {
        "gpu_model": "v100",
        "price_per_hour_credits": 600,
        "balance_after_precheck": 100_000 - 1200,
        "ssh_access": {**platform.ssh_access, "fingerprint": fingerprint},
    }
    assert reply.headers["Cache-Control"] == "no-store"


async def test_a_minted_key_is_shown_once(platform: Platform) -> None:
    user = await platform.user()
    reply = await platform.api.call("POST", "/v1/pods", token=user.token)
    access = reply.body["ssh_access"]
    minted = asyncssh.import_private_key(access.pop("private_key"))
    assert access == {**platform.ssh_access, "fingerprint": minted.get_fingerprint()}
    path = f"/v1/pods/{reply.body['pod_id']}"
    shown = await platform.api.call("GET", path, token=user.token)
    assert shown.body["ssh_access"] == access


async def test_null_and_nothing_are_the_defaults(platform: Platform) -> None:
    user = await platform.user()
    body = dict.fromkeys(
        ("name", "image", "gpu_model", "gpu_count", "cpu", "memory", "env", "ssh_pubkey")
    )
    first = await platform.api.call("POST", "/v1/pods", token=user.token, body=body)
    pod = await platform.show(user, first.body["pod_id"])
    assert (pod["name"], pod["image"], pod["gpu_model"]) == (
        *("rent", "kgpu-pytorch:latest", "rtx4090"),
    )
    assert (pod["gpu_count"], pod["cpu"], pod["memory"], pod["ephemeral_storage_gib"]) == (
        *(1, "2", "16Gi", 100),
    )


async def test_a_whole_life(platform: Platform) -> None:
    user = await platform.user()
    pod_id = await platform.rent(user, gpu_model="rtx3090", gpu_count=1)
    pod = await platform.ready(user, pod_id)
    assert set(pod) == POD_FIELDS
    assert (pod["phase"], pod["ready"], pod["pending_reason"]) == ("Running", True, None)
    assert (pod["ended_at"], pod["end_reason"]) == (None, None)
    for field in ("created_at", "started_at", "ready_at"):
        assert TIME.fullmatch(pod[field])
    assert set(pod["idle"]) == {"last_activity_at", "idle_seconds", "idle_warning", "release_at"}
    assert not pod["idle"]["idle_warning"]
    assert hours_between(pod["started_at"], pod["idle"]["release_at"]) >= 24
    me = (await platform.api.call("GET", "/v1/me", token=user.token)).body
    assert me["quota"]["gpus_used"] == 1
    balance = (await platform.api.call("GET", "/v1/balance", token=user.token)).body
    assert balance["burn_per_hour"] == 600
    assert TIME.fullmatch(balance["lasts_until"])

    released = await platform.api.call("DELETE", f"/v1/pods/{pod_id}", token=user.token)
    assert set(released.body) == POD_FIELDS
    assert released.body["end_reason"] == "returned"
    assert released.body["phase"] in ("Terminating", "Ended")
    assert not released.body["ready"]
    assert released.body["ssh_access"]["fingerprint"] is None
    again = await platform.api.call("DELETE", f"/v1/pods/{pod_id}", token=user.token)
    assert again.status == 200
    assert again.body["ended_at"] == released.body["ended_at"]
    patched = await platform.api.call("PATCH", f"/v1/pods/{pod_id}", token=user.token)
    assert (patched.status, patched.code) == (409, "pod_ended")
    run = await platform.exec(user, pod_id, ["true"])
    assert (run.status, run.code) == (409, "pod_ended")


async def test_pods_are_listed_newest_first(platform: Platform) -> None:
    user = await platform.user()
    first = await platform.rent(user, gpu_count=0)
    await asyncio.sleep(0.01)
    second = await platform.rent(user, gpu_count=0)
    listed = (await platform.api.call("GET", "/v1/pods", token=user.token)).body
    assert [pod["pod_id"] for pod in listed] == [second, first]
    assert all(set(pod) == POD_FIELDS for pod in listed)


async def test_rotation_pins_the_new_key(platform: Platform) -> None:
    user = await platform.user()
    pod_id = await platform.rent(user, gpu_count=0)
    line, fingerprint = key()
    path = f"/v1/pods/{pod_id}"
    mine = await platform.api.call("PATCH", path, token=user.token, body={"ssh_pubkey": line})
    assert mine.body == {
        "pod_id": pod_id,
        "ssh_access": {**platform.ssh_access, "fingerprint": fingerprint},
    }
    minted = await platform.api.call("PATCH", path, token=user.token)
    assert "private_key" in minted.body["ssh_access"]
    # What curl's -d '' and PowerShell's -Method Post call an empty body.
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    minted = await platform.api.call("PATCH", path, token=user.token, data=b"", headers=form)
    assert "private_key" in minted.body["ssh_access"]
    shown = await platform.show(user, pod_id)
    assert shown["ssh_access"]["fingerprint"] == minted.body["ssh_access"]["fingerprint"]


async def test_a_key_that_is_pinned_already_is_409(platform: Platform) -> None:
    one, two = await platform.user(), await platform.user()
    line, _ = key()
    await platform.rent(one, gpu_count=0, ssh_pubkey=line)
    body = {"gpu_count": 0, "ssh_pubkey": line}
    reply = await platform.api.call("POST", "/v1/pods", token=two.token, body=body)
    assert (reply.status, reply.code) == (409, "duplicate")
    await platform.check_nothing_came_of_it(two)
    pod_id = await platform.rent(two, gpu_count=0)
    path = f"/v1/pods/{pod_id}"
    reply = await platform.api.call("PATCH", path, token=two.token, body={"ssh_pubkey": line})
    assert (reply.status, reply.code) == (409, "duplicate")


async def test_a_fifth_gpu_is_409(platform: Platform) -> None:
    user = await platform.user()
    await platform.rent(user, gpu_model="v100", gpu_count=4)
    body = {"gpu_model": "rtx3080"}
    reply = await platform.api.call("POST", "/v1/pods", token=user.token, body=body)
    assert (reply.status, reply.code) == (409, "quota_exceeded")
    assert reply.body["detail"].startswith("1 wanted, 4 of your 4 GPUs in use; ")
    listed = (await platform.api.call("GET", "/v1/pods", token=user.token)).body
    assert len(listed) == 1


async def test_a_taken_gpu_is_409_at_once(platform: Platform) -> None:
    one, two = await platform.user(), await platform.user()
    await platform.rent(one, gpu_count=1)
    reply = await platform.api.call("POST", "/v1/pods", token=two.token)
    assert (reply.status, reply.code) == (409, "no_capacity")
    await platform.check_nothing_came_of_it(two)
