"""What a daemon that is killed leaves running in the pods: the next one ends it."""

import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from .dev import Pod, eventually, make_key, rent
from .serve import front, serving, sign_up, write_config

# In a file of this name each writes its pid.
STAYS = "echo $$ >/tmp/{}; exec sleep 1000"


def test_the_next_daemon_hangs_up_for_the_killed_one(tmp_path: Path, kubeconfig: Path) -> None:
    config = write_config(tmp_path, kubeconfig)
    with serving(config) as first:
        token = sign_up(config)
        pod = rent(front(config, first, token), make_key(tmp_path / "key"))
        clients = [
            pod.start(STAYS.format("plain")),
            pod.start("-tt", STAYS.format("terminal")),
            pod.start("-tt", "trap '' HUP; " + STAYS.format("ignoring")),
            pod.start(f"setsid -f sh -c '{STAYS.format('detached')}' </dev/null >/dev/null 2>&1"),
        ]
        names = ["detached", "ignoring", "plain", "terminal"]
        eventually(lambda: running(pod) == names)
        first.kill()
        for client in clients:
            client.communicate(timeout=20)
    with serving(config) as second:
        dev = front(config, second, token)
        again = Pod(dev, pod.pod_id, pod.key)
        eventually(lambda: again.view()["ready"])
        eventually(lambda: running(again) == ["detached", "ignoring"])
    # Asking again does no harm, and nothing else is ended by it.
    with serving(config) as third:
        again = Pod(front(config, third, token), pod.pod_id, pod.key)
        eventually(lambda: again.view()["ready"])
        log = config.with_suffix(".log")
        eventually(lambda: log.read_text().count('"fate": "not_found"') >= 2)
        assert running(again) == ["detached", "ignoring"]


@pytest.mark.slow
def test_the_next_daemon_keeps_the_time_of_a_command_of_the_killed_one(
    tmp_path: Path, kubeconfig: Path
) -> None:
    config = write_config(tmp_path, kubeconfig)
    with serving(config) as first:
        token = sign_up(config)
        pod = rent(front(config, first, token), make_key(tmp_path / "key"))
        command = ["sh", "-c", "trap '' HUP; " + STAYS.format("called")]
        curl = ["curl", "-sS", "-d", json.dumps({"cmd": command, "timeout_seconds": 20})]
        curl += ["-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json"]
        caller = subprocess.Popen([*curl, f"{pod.dev.env['KGPU_API_BASE']}/pods/{pod.pod_id}/exec"])
        eventually(lambda: running(pod) == ["called"])
        with closing(sqlite3.connect(tmp_path / "state" / "kgpud.sqlite3")) as store:
            eventually(lambda: store.execute("SELECT count(*) FROM commands").fetchone()[0])
        first.kill()
        caller.wait(20)
    with serving(config) as second:
        again = Pod(front(config, second, token), pod.pod_id, pod.key)
        eventually(lambda: again.view()["ready"])
        assert running(again) == ["called"]
        eventually(lambda: running(again) == [], 60)


def running(pod: Pod) -> list[str]:
    """Return who of them is there."""
    script = "cd /tmp && for name in *; do kill -0 $(cat $name) && echo $name; done 2>/dev/null"
    return pod.ssh(script).stdout.decode().split()
