"""What is refused: with which status, code and field, and that nothing came of it."""

import base64
from typing import Any

import asyncssh
import pytest

from .platform import Platform

PRIVATE = asyncssh.generate_private_key("ssh-ed25519").export_private_key("openssh").decode()
SHORT_RSA = asyncssh.generate_private_key("ssh-rsa", key_size=1024)
# By hand: libraries make none any more.
DSA_PARTS = [b"ssh-dss", *(b"\x7f" * size for size in (128, 20, 128, 128))]
DSA_BLOB = b"".join(len(part).to_bytes(4, "big") + part for part in DSA_PARTS)
DSA = f"ssh-dss {base64.b64encode(DSA_BLOB).decode()}"


def public(key: asyncssh.SSHKey) -> str:
    return key.export_public_key("openssh").decode()


REFUSED: list[tuple[str, Any, str]] = [
    ("unknown field", {"gpus": 1}, "gpus"),
    ("unknown field that is null", {"gpus": None}, "gpus"),
    ("not an object", [], ""),
    ("not an object either", "rtx4090", ""),
    ("count as text", {"gpu_count": "2"}, "gpu_count"),
    ("count as truth", {"gpu_count": True}, "gpu_count"),
    ("count with a fraction", {"gpu_count": 1.5}, "gpu_count"),
    ("count as float", {"gpu_count": 1.0}, "gpu_count"),
    ("count as list", {"gpu_count": [1]}, "gpu_count"),
    ("huge count", {"gpu_count": 10**400}, "gpu_count"),
    ("gpu_count 5", {"gpu_count": 5}, "gpu_count"),
    ("gpu_count -1", {"gpu_count": -1}, "gpu_count"),
    ("name upper case", {"name": "Rent"}, "name"),
    ("name empty", {"name": ""}, "name"),
    ("name with dot", {"name": "a.b"}, "name"),
    ("name ends in dash", {"name": "a-"}, "name"),
    ("name with newline", {"name": "a\n"}, "name"),
    ("name not ASCII", {"name": "ä"}, "name"),
    ("name of 31", {"name": "a" * 31}, "name"),
    ("name as number", {"name": 1}, "name"),
    ("gpu_model unknown", {"gpu_model": "gtx1080"}, "gpu_model"),
    ("gpu_model empty", {"gpu_model": ""}, "gpu_model"),
    ("gpu_model with NUL", {"gpu_model": "rtx4090\0"}, "gpu_model"),
    ("gpu_model long", {"gpu_model": "a" * 100_000}, "gpu_model"),
    ("cpu 17", {"cpu": "17"}, "cpu"),
    ("cpu 0", {"cpu": "0"}, "cpu"),
    ("cpu negative", {"cpu": "-1"}, "cpu"),
    ("cpu as number", {"cpu": 2}, "cpu"),
    ("cpu lots", {"cpu": "lots"}, "cpu"),
    ("cpu in other digits", {"cpu": "٢"}, "cpu"),
    ("cpu too fine", {"cpu": "0.0001"}, "cpu"),
    ("cpu 16001m", {"cpu": "16001m"}, "cpu"),
    ("memory 129Gi", {"memory": "129Gi"}, "memory"),
    ("memory lots", {"memory": "lots"}, "memory"),
    ("memory 0", {"memory": "0"}, "memory"),
    ("memory of a byte", {"memory": "1"}, "memory"),
    ("memory just over", {"memory": "137438953473"}, "memory"),
    ("memory endless", {"memory": "9" * 5000}, "memory"),
    ("storage 0", {"ephemeral_storage_gib": 0}, "ephemeral_storage_gib"),
    ("storage 2001", {"ephemeral_storage_gib": 2001}, "ephemeral_storage_gib"),
    ("storage as text", {"ephemeral_storage_gib": "100"}, "ephemeral_storage_gib"),
    ("image of another registry", {"image": "quay.io/a/b:c"}, "image"),
    ("image without registry", {"image": "debian"}, "image"),
    ("image empty", {"image": ""}, "image"),
    ("image with a space", {"image": "ghcr.io/a b"}, "image"),
    ("image with newline", {"image": "ghcr.io/a\n"}, "image"),
    ("env bad name", {"env": {"1A": "x"}}, "env.1A"),
    ("env empty name", {"env": {"": "x"}}, "env."),
    ("env name with =", {"env": {"A=B": "x"}}, "env.A=B"),
    ("env name with newline", {"env": {"A\n": "x"}}, "env.A\N{REPLACEMENT CHARACTER}"),
    ("env reserved NVIDIA_", {"env": {"NVIDIA_X": "x"}}, "env.NVIDIA_X"),
    ("env reserved LD_", {"env": {"LD_PRELOAD": "x"}}, "env.LD_PRELOAD"),
    ("env reserved KGPU_", {"env": {"KGPU_API_TOKEN": "x"}}, "env.KGPU_API_TOKEN"),
    ("env value is a number", {"env": {"A": 1}}, "env.A"),
    ("env value is null", {"env": {"A": None}}, "env.A"),
    ("env value with NUL", {"env": {"A": "\0"}}, "env.A"),
    ("env as list", {"env": ["A=1"]}, "env"),
    ("env over 64 KiB", {"env": {"A": "x" * 65536}}, "env"),
    ("env of too many", {"env": dict.fromkeys(map("A{}".format, range(1001)), "")}, "env"),
    ("key empty", {"ssh_pubkey": ""}, "ssh_pubkey"),
    ("key of two lines", {"ssh_pubkey": "ssh-ed25519 AAAA\nssh-ed25519 AAAA"}, "ssh_pubkey"),
    ("key with NUL", {"ssh_pubkey": "ssh-ed25519 AAAA\0"}, "ssh_pubkey"),
    ("key damaged", {"ssh_pubkey": "ssh-ed25519 AAAA"}, "ssh_pubkey"),
    ("key as list", {"ssh_pubkey": ["ssh-ed25519"]}, "ssh_pubkey"),
    ("key endless", {"ssh_pubkey": "ssh-ed25519 " + "A" * 20_000}, "ssh_pubkey"),
    ("private key", {"ssh_pubkey": PRIVATE}, "ssh_pubkey"),
    ("DSA key", {"ssh_pubkey": DSA}, "ssh_pubkey"),
    ("short RSA key", {"ssh_pubkey": public(SHORT_RSA)}, "ssh_pubkey"),
]


@pytest.mark.parametrize(
    ("body", "field"),
    [pytest.param(body, field, id=name) for name, body, field in REFUSED],
)
async def test_a_bad_rent_names_the_field(platform: Platform, body: Any, field: str) -> None:
    user = await platform.user()
    reply = await platform.api.call("POST", "/v1/pods", token=user.token, body=body)
    assert (reply.status, reply.code) == (422, "validation_failed")
    assert reply.fields == [field]
    await platform.check_nothing_came_of_it(user)


async def test_every_bad_field_is_named_at_once(platform: Platform) -> None:
    user = await platform.user()
    body = {"cpu": "17", "gpu_count": 5, "colour": "red"}
    reply = await platform.api.call("POST", "/v1/pods", token=user.token, body=body)
    assert {one["field"]: one["message"] for one in reply.body["errors"]} == {
        "colour": "unknown field",
        "cpu": "more than 0 and at most 16 cores, in steps of 1m",
        "gpu_count": "must be less than or equal to 4",
    }


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"{", id="cut off"),
        pytest.param(b"", id="empty"),
        pytest.param(b"{'name': 'a'}", id="single quotes"),
        pytest.param(b'{"gpu_count": NaN}', id="NaN"),
        pytest.param(b'{"gpu_count": Infinity}', id="Infinity"),
        pytest.param(b'{"name": "\xff"}', id="not UTF-8"),
        pytest.param(b'{"name": "\\ud800"}', id="lone surrogate"),
        pytest.param('{"name": "a"}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b"[" * 100_000, id="deep nesting"),
        pytest.param(b'{"a":' * 5000 + b"1" + b"}" * 5000, id="deep objects"),
        pytest.param(b"{} {}", id="two documents"),
        pytest.param(b"\0", id="NUL"),
    ],
)
async def test_what_is_not_json_is_400(platform: Platform, data: bytes) -> None:
    user = await platform.user()
    reply = await platform.api.call("POST", "/v1/pods", token=user.token, data=data)
    assert (reply.status, reply.code) == (400, "invalid_json")
    await platform.check_nothing_came_of_it(user)


async def test_a_pasted_private_key_is_repeated_nowhere(
    platform: Platform, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    user = await platform.user()
    bodies: list[Any] = [{"ssh_pubkey": PRIVATE}, {"ssh_pubkey": [PRIVATE]}, {"name": PRIVATE}]
    replies = [
        await platform.api.call("POST", "/v1/pods", token=user.token, body=body) for body in bodies
    ]
    seen = str(replies) + str(capfd.readouterr()) + caplog.text
    assert PRIVATE.splitlines()[1] not in seen
    assert user.token not in seen
    assert all(reply.status == 422 for reply in replies)


async def test_no_credits_is_402(platform: Platform) -> None:
    user = await platform.user(credits_left=999)
    reply = await platform.api.call("POST", "/v1/pods", token=user.token)
    assert (reply.status, reply.code) == (402, "insufficient_credits")
    await platform.check_nothing_came_of_it(user, 999)


async def test_no_free_gpu_is_409_and_says_what_is_free(platform: Platform) -> None:
    user = await platform.user()
    body = {"gpu_model": "rtx4090", "gpu_count": 4}
    reply = await platform.api.call("POST", "/v1/pods", token=user.token, body=body)
    assert (reply.status, reply.code) == (409, "no_capacity")
    assert "1" in reply.body["detail"]
    await platform.check_nothing_came_of_it(user)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "cmd"),
        ({"cmd": None}, "cmd"),
        ({"cmd": []}, "cmd"),
        ({"cmd": [""]}, "cmd"),
        ({"cmd": "ls"}, "cmd"),
        ({"cmd": ["ls", 1]}, "cmd.1"),
        ({"cmd": ["ls", "\0"]}, "cmd.1"),
        ({"cmd": ["ls", "x" * (1 << 17)]}, "cmd"),
        ({"cmd": ["ls"], "timeout_seconds": 0}, "timeout_seconds"),
        ({"cmd": ["ls"], "timeout_seconds": 301}, "timeout_seconds"),
        ({"cmd": ["ls"], "timeout_seconds": 1.5}, "timeout_seconds"),
        ({"cmd": ["ls"], "stdin": 1}, "stdin"),
        ({"cmd": ["ls"], "stdin": "x" * ((1 << 20) + 1)}, "stdin"),
        ({"cmd": ["ls"], "stdin": "ä" * ((1 << 19) + 1)}, "stdin"),
        ({"cmd": ["ls"], "tty": True}, "tty"),
    ],
)
async def test_a_bad_exec_names_the_field(platform: Platform, body: Any, field: str) -> None:
    user = await platform.user()
    path = "/v1/pods/gpu-rent-1-abcdef/exec"
    reply = await platform.api.call("POST", path, token=user.token, body=body)
    assert (reply.status, reply.fields) == (422, [field])


@pytest.mark.parametrize("body", [{"name": "a"}, {"ssh_pubkey": 1}, {"ssh_pubkey": PRIVATE}])
async def test_a_bad_rotation_names_the_field(platform: Platform, body: Any) -> None:
    user = await platform.user()
    pod = await platform.rent(user)
    reply = await platform.api.call("PATCH", f"/v1/pods/{pod}", token=user.token, body=body)
    assert (reply.status, reply.fields) == (422, list(body))
