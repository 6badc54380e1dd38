"""A balance that runs out is told of where people look: on their terminal and at their login."""

import subprocess
from pathlib import Path

from .dev import eventually, make_key, rent
from .serve import front, kgpud, serving, sign_up


def test_a_terminal_and_a_login_say_that_the_balance_runs_out(config: Path, tmp_path: Path) -> None:
    with serving(config) as daemon:
        dev = front(config, daemon, sign_up(config))
        pod = rent(dev, make_key(tmp_path / "key"))
        said = tmp_path / "said"
        with said.open("wb") as out:
            terminal = subprocess.Popen(
                pod.argv("-tt"), stdin=subprocess.PIPE, stdout=out, stderr=out
            )
        piped = pod.start("echo in; cat")
        assert piped.stdout
        assert piped.stdout.readline() == b"in\n"
        eventually(lambda: b"balance lasts" in said.read_bytes())
        kgpud("user", "credit", "a@example.org", "-99700", "--note", "x", "--config", str(config))
        eventually(lambda: b"\r\nkgpud: the balance lasts for an hour at most" in said.read_bytes())
        assert pod.view()["low_balance_minutes"] == 60
        events = dev.api("GET", f"/pods/{pod.pod_id}/events")
        assert [one["detail"] for one in events if one["kind"] == "low_balance"] == ["60"]
        terminal.communicate(b"exit 7\n", timeout=20)
        assert terminal.returncode == 7
        again = subprocess.run(pod.argv("-tt"), input=b"exit\n", capture_output=True, timeout=20)
        assert b"BALANCE LASTS" in again.stdout
        # Nothing of it gets into what a program reads.
        out_, err = piped.communicate(b"data", timeout=20)
        assert (out_, err, piped.returncode) == (b"data", b"", 0)
