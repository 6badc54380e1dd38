"""A researcher who rents, works and releases, and believes nothing that isn't right or told."""

import hashlib
import http.client
import json
import random
import re
import shlex
import subprocess
import threading
import time
import uuid
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.e2e.dev import Dev, Pod, make_key

_WITHIN = 120.0
_PAUSE_SECONDS = 0.3
_BROKEN = 255
CUT_OFF = "start_failed:create_interrupted"
# Seconds in which a detached job must have written a line, on a machine that is busy.
_LONGEST_GAP = 20
_TOLD = re.compile(
    rb"kgpud: |Connection (refused|closed|reset)|closed by remote host|reset by peer|Broken pipe"
    rb"|lost connection|Connection to .* closed"
)
_BEAT = """mkdir /tmp/beating 2>/dev/null || exit 0
setsid -f sh -c 'while :; do date +%s >>/tmp/beat; sleep 0.5; done' </dev/null >/dev/null 2>&1"""


class Wrong(Exception):
    """Something was neither right nor told."""


class Researcher:
    """One account and its key. `met` counts what was right and what was told to have failed."""

    def __init__(self, dev: Dev, folder: Path, seed: int) -> None:
        folder.mkdir()
        self._dev = dev
        self._folder = folder
        self._chance = random.Random(seed)
        self._key = make_key(folder / "key")
        self.met: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.rentals: list[str] = []

    def live(self, over: threading.Event) -> None:
        """Rent, work and release, again and again until `over`."""
        while not over.is_set():
            try:
                self._rental(over)
            except (Wrong, subprocess.TimeoutExpired) as error:
                self.wrong.append(repr(error))

    def _rental(self, over: threading.Event) -> None:
        pod = Pod(self._dev, self._rent(), self._key)
        self.rentals.append(pod.pod_id)
        try:
            if not self._becomes_ready(pod):
                self.met["rental: told"] += 1
                return
            self._surely(pod, _BEAT)
            for _ in range(self._chance.randint(3, 8)):
                if not over.is_set():
                    self._work(pod)
            self._check_beat(pod)
            self.met["rental: right"] += 1
        finally:
            self._release(pod)

    # Over REST.

    def _rent(self) -> str:
        """Rent under one idempotency key, however often that has to be asked."""
        body = {
            "ssh_pubkey": self._key.with_suffix(".pub").read_text(),
            "gpu_model": "v100",
            "gpu_count": self._chance.choice([0, 0, 1]),
            "memory": "1Gi",
        }
        key, deadline = uuid.uuid4().hex, time.monotonic() + _WITHIN
        while True:
            status, answer = self._insist("POST", "/pods", body, {"Idempotency-Key": key})
            if status == 200:
                return str(answer["pod_id"])
            code = answer.get("code")
            if code == "no_capacity":
                body, key = {**body, "gpu_count": 0}, uuid.uuid4().hex
            elif code != "idempotency_in_flight" or time.monotonic() > deadline:
                raise Wrong(f"POST /pods: {status} {answer}")
            time.sleep(_PAUSE_SECONDS)

    def _becomes_ready(self, pod: Pod) -> bool:
        """Wait; False for one whose daemon died before it asked the cluster for the pod."""
        deadline = time.monotonic() + _WITHIN
        path = f"/pods/{pod.pod_id}?wait=ready&timeout=10"
        while time.monotonic() < deadline:
            status, answer = self._insist("GET", path)
            if status != 200 or answer["end_reason"] not in {None, CUT_OFF}:
                raise Wrong(f"{path}: {status} {answer}")
            if answer["ready"] or answer["end_reason"]:
                return bool(answer["ready"])
        raise Wrong(f"{pod.pod_id} did not become ready")

    def _release(self, pod: Pod) -> None:
        status, answer = self._insist("DELETE", f"/pods/{pod.pod_id}")
        if status != 200 or answer["end_reason"] not in {"returned", CUT_OFF}:
            raise Wrong(f"release: {status} {answer.get('end_reason')} {answer}")
        done = pod.ssh("true", seconds=_WITHIN)
        if done.returncode != _BROKEN:
            raise Wrong(f"a released pod answers: {done}")

    def _insist(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Ask until there is an answer that is no 5xx."""
        deadline = time.monotonic() + _WITHIN
        while True:
            answer = self._ask(method, path, body, headers or {})
            if answer is not None and answer[0] < 500:
                return answer
            if time.monotonic() > deadline:
                raise Wrong(f"{method} {path}: {answer}")
            time.sleep(_PAUSE_SECONDS)

    def _ask(
        self, method: str, path: str, body: object, headers: dict[str, str]
    ) -> tuple[int, dict[str, Any]] | None:
        """Ask once; None if there was no whole answer."""
        base = self._dev.env["KGPU_API_BASE"]
        host = base.split("/")[2]
        headers = {**headers, "Authorization": f"Bearer {self._dev.env['KGPU_API_TOKEN']}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection(host, timeout=_WITHIN)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, f"/v1{path}", text, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    # Over SSH.

    def _work(self, pod: Pod) -> None:
        kinds = {
            "command": self._command,
            "terminal": self._terminal,
            "download": self._download,
            "upload": self._upload,
            "scp": self._scp,
            "rsync": self._rsync,
            "exec": self._exec,
        }
        kind = self._chance.choice(sorted(kinds))
        right = kinds[kind](pod)
        self.met[f"{kind}: {'right' if right else 'told'}"] += 1

    def _command(self, pod: Pod) -> bool:
        code = self._chance.randrange(200)
        seconds = self._chance.choice([0, 0, 1, 3])
        done = pod.ssh(f"echo out; echo err >&2; sleep {seconds}; exit {code}", seconds=_WITHIN)
        return _judge(done, code, b"out\n")

    def _terminal(self, pod: Pod) -> bool:
        code = self._chance.randrange(200)
        done = pod.ssh("-tt", f"echo out; sleep 1; exit {code}", seconds=_WITHIN)
        if (done.returncode, done.stdout) == (code, b"out\r\n"):
            return True
        return _told(done.returncode, done.stdout + done.stderr)

    def _download(self, pod: Pod) -> bool:
        size = self._size()
        done = pod.ssh(f"head -c {size} /dev/zero | tr '\\0' x", seconds=_WITHIN)
        return _judge(done, 0, b"x" * size)

    def _upload(self, pod: Pod) -> bool:
        data = self._chance.randbytes(self._size())
        digest = hashlib.sha256(data).hexdigest()
        done = pod.ssh("cat >/tmp/up && sha256sum </tmp/up", stdin=data, seconds=_WITHIN)
        return _judge(done, 0, f"{digest}  -\n".encode())

    def _scp(self, pod: Pod) -> bool:
        here, back = self._folder / "data", self._folder / "back"
        here.write_bytes(data := self._chance.randbytes(self._size()))
        protocol = self._chance.choice([["-O"], []])
        scp = ["scp", *protocol, *pod.options, "-P", pod.port]
        if not self._copied([*scp, str(here), f"{pod.where}:/workspace/data"]):
            return False
        self._same(pod, "/workspace/data", data)
        back.unlink(missing_ok=True)
        if not self._copied([*scp, f"{pod.where}:/workspace/data", str(back)]):
            return False
        if back.read_bytes() != data:
            raise Wrong("scp brought something else back")
        return True

    def _rsync(self, pod: Pod) -> bool:
        tree = self._folder / "tree"
        tree.mkdir(exist_ok=True)
        for number in range(self._chance.randrange(1, 20)):
            (tree / str(number)).write_bytes(self._chance.randbytes(self._size() // 8))
        shell = shlex.join(["ssh", *pod.options, "-p", pod.port])
        # By checksum: files of one size come and go within a second here.
        rsync = ["rsync", "-ac", "--delete", "-e", shell]
        back = self._folder / "tree-back"
        if not self._copied([*rsync, f"{tree}/", f"{pod.where}:/workspace/tree/"]):
            return False
        if not self._copied([*rsync, f"{pod.where}:/workspace/tree/", f"{back}/"]):
            return False
        if subprocess.run(["diff", "-r", tree, back], capture_output=True).returncode:
            raise Wrong("rsync brought another tree back")
        return True

    def _exec(self, pod: Pod) -> bool:
        code = self._chance.randrange(200)
        body = {"cmd": ["sh", "-c", f"echo out; sleep 1; exit {code}"]}
        answer = self._ask("POST", f"/pods/{pod.pod_id}/exec", body, {})
        if answer is None or answer[0] in {409, 502, 503}:
            return False
        if (answer[0], answer[1].get("exit_code"), answer[1].get("stdout")) != (200, code, "out\n"):
            raise Wrong(f"exec: {answer}")
        return True

    def _copied(self, argv: list[str]) -> bool:
        done = subprocess.run(argv, capture_output=True, timeout=_WITHIN)
        if done.returncode and not done.stderr:
            raise Wrong(f"not a word: {argv[0]} {done.returncode}")
        return done.returncode == 0

    def _same(self, pod: Pod, path: str, data: bytes) -> None:
        there = self._surely(pod, f"sha256sum <{path}").split()[0].decode()
        if there != hashlib.sha256(data).hexdigest():
            raise Wrong(f"{path} is not what was copied")

    def _surely(self, pod: Pod, command: str) -> bytes:
        """Run a command, again for as long as it is told to have broken."""
        deadline = time.monotonic() + _WITHIN
        while time.monotonic() < deadline:
            done = pod.ssh(command, seconds=_WITHIN)
            if done.returncode != _BROKEN:
                return done.stdout
            _told(done.returncode, done.stderr)
            time.sleep(_PAUSE_SECONDS)
        raise Wrong(f"it never went through: {command}")

    def _check_beat(self, pod: Pod) -> None:
        """See that a detached job has gone on all the time, whatever became of the daemon."""
        beats = [int(word) for word in self._surely(pod, "cat /tmp/beat; date +%s").split()]
        gaps = [after - before for before, after in pairwise(beats)]
        if max(gaps, default=_LONGEST_GAP) >= _LONGEST_GAP:
            raise Wrong(f"a detached job stood still: {beats}")

    def _size(self) -> int:
        return self._chance.choice([0, 1000, 40_000, 1_000_000, 8_000_000])


def _judge(done: subprocess.CompletedProcess[bytes], code: int, out: bytes) -> bool:
    if (done.returncode, done.stdout) == (code, out):
        return True
    if not out.startswith(done.stdout):
        raise Wrong(f"wrong bytes, code {done.returncode}")
    return _told(done.returncode, done.stderr)


def _told(code: int, said: bytes) -> bool:
    if code != _BROKEN or not _TOLD.search(said):
        raise Wrong(f"neither right nor told: {code} {said!r}")
    return False
