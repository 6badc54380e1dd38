"""What a container finds: files of secrets, shared volumes, its own command; how it is probed."""

import asyncio
from typing import Any

from .clusters import WITHIN, Api, Document, is_ready

_SERVE = (
    "import http.server as h\n"
    "class H(h.BaseHTTPRequestHandler):\n"
    " def do_GET(self): self.send_response(204 if self.path == '/good' else 503);"
    " self.end_headers()\n"
    "h.HTTPServer(('', 8000), H).serve_forever()"
)


async def _say(api: Api, name: str, script: str, **options: Any) -> str:
    result = await api.execute(name, "sh", "-c", script, **options)
    assert result.code == 0, result
    return result.out.decode()


async def _messages(api: Api, name: str, reason: str) -> list[str]:
    params = {"fieldSelector": f"involvedObject.name={name}"}
    _status, events = await api.call("GET", "events", params=params)
    return [one["message"] for one in events["items"] if one["reason"] == reason]


async def _said(api: Api, name: str, message: str) -> None:
    """Wait for an Unhealthy Event with this message."""
    async with asyncio.timeout(WITHIN):
        while message not in await _messages(api, name, "Unhealthy"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # an API is polled, there is nothing to wait for


async def test_a_secret_is_files_and_variables(api: Api) -> None:
    secret = {"metadata": {"name": "files"}, "stringData": {"user": "ann", "password": "x y"}}
    await api.call("POST", "secrets", secret)
    items = [{"key": "password", "path": "pass.txt", "mode": 0o400}]
    volumes = [
        {"name": "all", "secret": {"secretName": "files"}},
        {"name": "one", "secret": {"secretName": "files", "items": items}},
    ]
    mounts = [{"name": "all", "mountPath": "/all"}, {"name": "one", "mountPath": "/one"}]
    env = [{"prefix": "S_", "secretRef": {"name": "files"}}]
    await api.ready("secret-files", volumes=volumes, volumeMounts=mounts, envFrom=env)
    said = await _say(
        api, "secret-files", "ls /all /one; cat /all/user /one/pass.txt; echo $S_user"
    )
    assert said == "/all:\npassword\nuser\n\n/one:\npass.txt\nannx yann\n"
    assert await _say(api, "secret-files", "touch /all/x 2>/dev/null || echo no") == "no\n"
    await api.delete("secret-files")
    await api.call("DELETE", "secrets/files")


async def test_a_kind_of_volume_that_is_not_offered_is_said(api: Api) -> None:
    volumes = [{"name": "host", "hostPath": {"path": "/"}}]
    mounts = [{"name": "host", "mountPath": "/host"}]
    await api.create("host-path", volumes=volumes, volumeMounts=mounts)
    await api.wait("host-path", lambda one: "containerStatuses" in one["status"])
    (said,) = await _messages(api, "host-path", "FailedMount")
    assert said.endswith("this local cluster has no such kind: hostPath")
    await api.delete("host-path")


async def test_a_memory_volume_is_as_large_as_the_limit_of_memory(api: Api) -> None:
    await api.ready(
        "shm",
        volumes=[{"name": "shm", "emptyDir": {"medium": "Memory"}}],
        volumeMounts=[{"name": "shm", "mountPath": "/dev/shm"}],
        resources={"limits": {"memory": "96Mi"}},
    )
    assert await _say(api, "shm", "df -P -m /dev/shm | awk 'NR==2{print $2}'") == "96\n"
    await api.delete("shm")


async def test_http_probes_and_their_thresholds(api: Api) -> None:
    probe = {"httpGet": {"path": "/good", "port": 8000}, "periodSeconds": 1, "successThreshold": 1}
    bad = {"httpGet": {"path": "/bad", "port": 8000}, "periodSeconds": 1}
    command = ["python3", "-c", _SERVE]
    await api.create("http-bad", command=command, readinessProbe=bad)
    await api.ready("http-good", command=command, readinessProbe=probe)
    failed = "Readiness probe failed: HTTP probe failed with statuscode: 503"

    def seen(one: Document) -> bool:
        assert not is_ready(one)
        return bool(one["status"]["phase"] == "Running")

    await api.wait("http-bad", seen)
    await _said(api, "http-bad", failed)
    for name in ("http-good", "http-bad"):
        await api.delete(name)


async def test_a_probe_says_what_its_command_said(api: Api) -> None:
    probe = {"exec": {"command": ["sh", "-c", "echo not yet; exit 1"]}, "periodSeconds": 1}
    await api.create("says", readinessProbe=probe)
    await _said(api, "says", "Readiness probe failed: not yet\n")
    await api.delete("says")


async def test_two_containers_share_volumes_and_have_their_own_command(api: Api) -> None:
    image = {"image": "kgpu-pytorch:latest", "imagePullPolicy": "IfNotPresent"}
    mounts = [{"name": "shared", "mountPath": "/shared"}]
    await api.ready(
        "two",
        containers=[
            {"name": "main", **image, "command": ["sleep", "998"], "volumeMounts": mounts},
            {"name": "c2", **image, "command": ["sleep", "999"], "volumeMounts": mounts},
        ],
        volumes=[{"name": "shared", "emptyDir": {}}],
    )
    path = "/api/v1/namespaces/kgpu/pods/two/exec"
    for name, seconds in (("main", "998"), ("c2", "999")):
        # Running is told a moment before PID 1 has become the command.
        script = (
            "until tr '\\0' ' ' </proc/1/cmdline | grep ^sleep; do sleep 0.01; done;"
            " echo $0 >>/shared/names; cat /shared/names"
        )
        query = [("stdout", "1"), ("container", name)]
        query += [("command", part) for part in ("sh", "-c", script, name)]
        async with api.session.ws_connect(
            path, params=query, protocols=["v5.channel.k8s.io"]
        ) as socket:
            said = b"".join([one.data[1:] async for one in socket if one.data[0] == 1])
        assert said.startswith(f"sleep {seconds} \nmain\n".encode())
    assert said == b"sleep 999 \nmain\nc2\n"
    status, answer = await api.call("GET", "pods/two/exec", params={"stdout": "1", "command": "x"})
    assert (status, answer["message"]) == (
        400,
        "a container name must be specified for pod two, choose one of: [main c2]",
    )
    await api.delete("two")
