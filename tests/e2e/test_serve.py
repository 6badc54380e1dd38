"""`kgpud serve` on a cluster of its own: what survives a daemon that is killed."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.certificates import write_pair

from .dev import Pod, eventually, make_key, output, rent
from .serve import front, kgpud, serving, sign_up, write_config
from .terminal import Terminal


def test_a_killed_daemon_comes_back_to_its_rentals(config: Path, tmp_path: Path) -> None:
    store = ("--config", str(config))
    key = make_key(tmp_path / "key")
    with serving(config) as first:
        token = sign_up(config)
        pod = rent(front(config, first, token), key)
        assert pod.ssh("echo kept >/workspace/file").returncode == 0
        client = pod.start("echo in; sleep 100")
        assert client.stdout
        assert client.stdout.readline() == b"in\n"
        first.kill()
        client.communicate(timeout=20)
        assert client.returncode == 255
    with serving(config) as second:
        dev = front(config, second, token)
        again = Pod(dev, pod.pod_id, key)
        eventually(lambda: again.view()["ready"])
        assert again.ssh("cat /workspace/file").stdout == b"kept\n"
        client = again.start("echo in; sleep 100")
        assert client.stdout
        assert client.stdout.readline() == b"in\n"
        kgpud("pod", "release", pod.pod_id, *store)
        _, said = client.communicate(timeout=20)
        assert client.returncode == 255
        assert b"the operator released the rental" in said
        ended = eventually(lambda: (view := again.view())["phase"] == "Ended" and view)
        assert ended["end_reason"] == "admin_released"
        assert dev.api("GET", "/balance")["credits"] == 100_000 - ended["cost_credits"]
        second.send_signal(signal.SIGTERM)
        assert second.wait(20) == 0


def test_a_stop_tells_sessions_and_spares_the_pod(tmp_path: Path, kubeconfig: Path) -> None:
    config = write_config(tmp_path, kubeconfig, drain=60)
    with serving(config) as daemon:
        token = sign_up(config)
        pod = rent(front(config, daemon, token), make_key(tmp_path / "key"))
        short, long = pod.start("echo in; read line; exit 3"), pod.start("echo in; sleep 100")
        for client in (short, long):
            assert client.stdout
            assert client.stdout.readline() == b"in\n"
        terminal = Terminal(pod.argv("-tt", "echo begun; exec sleep 100"))
        terminal.until(b"begun")
        daemon.terminate()
        terminal.until(b"this session ends in 60 s at the latest")
        # Nobody else's output is touched.
        assert short.communicate(b"now\n", timeout=20) == (b"", b"")
        assert short.returncode == 3
        daemon.terminate()  # the second time to hurry
        _, said = long.communicate(timeout=20)
        assert (long.returncode, b"is restarting" in said) == (255, True)
        terminal.until(b"is restarting")
        assert daemon.wait(20) == 0
        assert terminal.close() == 255
    with serving(config) as daemon:
        again = Pod(front(config, daemon, token), pod.pod_id, pod.key)
        eventually(lambda: again.view()["ready"])
        assert again.ssh("hostname").returncode == 0


def test_the_api_speaks_tls_itself(tmp_path: Path, kubeconfig: Path) -> None:
    config = write_config(tmp_path, kubeconfig)
    pair = f'tls_cert = "{tmp_path}/cert.pem"\ntls_key = "{tmp_path}/key.pem"\n'
    config.write_text(config.read_text().replace("[http]\n", "[http]\n" + pair))
    write_pair(tmp_path)
    with serving(config):
        said = config.with_suffix(".log").read_text()
        base = said.partition("kgpud serves ")[2].split()[0]
        assert base.startswith("https://127.0.0.1:")
        curl = ["curl", "-sS", "--cacert", str(tmp_path / "cert.pem"), f"{base}/gpu-models"]
        assert b"rtx4090" in output(curl)
    (tmp_path / "key.pem").unlink()
    argv = [sys.executable, "-m", "kgpud", "serve", "--config", str(config)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if "tls_cert" in line], done.stderr
    assert "Traceback" not in done.stderr


def test_users_can_still_release_while_sessions_drain(tmp_path: Path, kubeconfig: Path) -> None:
    config = write_config(tmp_path, kubeconfig, drain=60)
    with serving(config) as daemon:
        pod = rent(front(config, daemon, sign_up(config)), make_key(tmp_path / "key"))
        client = pod.start("echo in; sleep 100")
        assert client.stdout
        assert client.stdout.readline() == b"in\n"
        daemon.terminate()
        eventually(lambda: b"Connection refused" in pod.ssh("true").stderr)
        assert pod.release()["end_reason"] == "returned"
        _, said = client.communicate(timeout=20)
        assert (client.returncode, b"released" in said) == (255, True)
        assert daemon.wait(20) == 0


def test_a_bad_configuration_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "kgpud.toml"
    path.write_text("colour = 'red'\n")
    argv = [sys.executable, "-m", "kgpud", "serve", "--config", str(path)]
    done = subprocess.run(argv, capture_output=True, timeout=30)
    assert done.returncode == 1
    assert b"colour" in done.stderr
    assert done.stderr.count(b"\n") == 1
