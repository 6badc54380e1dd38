"""Signals that a client sends: OpenSSH's has no way to, so asyncssh is the client here."""

from pathlib import Path

import asyncssh
import pytest

from .dev import Pod


async def signalled(
    pod: Pod, command: str, *names: str, term: str | None = None
) -> tuple[int, str]:
    """Run a command that says "up"; send it signals; return its exit code and what it said."""
    async with asyncssh.connect(
        pod.dev.env["KGPU_SSH_HOST"],
        int(pod.port),
        username="kgpu",
        client_keys=[str(pod.key)],
        known_hosts=str(Path(pod.dev.env["KGPU_KNOWN_HOSTS"])),
    ) as connection:
        process = await connection.create_process(command, term_type=term)
        assert (await process.stdout.readline()).strip() == "up"
        for name in names:
            process.send_signal(name)
        done = await process.wait(timeout=30)
        assert done.exit_status is not None
        return done.exit_status, str(done.stdout)


@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT", "TERM", "USR1", "USR2"])
async def test_a_signal_reaches_the_command(pod: Pod, name: str) -> None:
    command = f"trap 'echo caught; exit 7' {name}; echo up; while :; do sleep 0.05; done"
    assert await signalled(pod, command, name) == (7, "caught\n")


@pytest.mark.parametrize(("name", "code"), [("TERM", 143), ("KILL", 137), ("USR1", 138)])
async def test_an_uncaught_signal_is_128_more(pod: Pod, name: str, code: int) -> None:
    assert await signalled(pod, "echo up; exec sleep 1000", name) == (code, "")


async def test_the_bare_image_too(bare: Pod) -> None:
    assert await signalled(bare, "echo up; exec sleep 1000", "TERM") == (143, "")


async def test_a_signal_reaches_a_command_on_a_terminal(pod: Pod) -> None:
    command = "trap 'echo caught; exit 7' TERM; echo up; while :; do sleep 0.05; done"
    code, said = await signalled(pod, command, "TERM", term="vt100")
    # The shell reports its sleep's end before.
    assert (code, said.splitlines()[-1]) == (7, "caught")


async def test_signals_come_in_order_and_a_made_up_one_is_nothing(pod: Pod) -> None:
    command = (
        "trap 'echo one' USR1; trap 'echo two; exit 0' USR2; echo up; while :; do sleep 0.05; done"
    )
    assert await signalled(pod, command, "STOP", "x; reboot", "USR1", "USR2") == (0, "one\ntwo\n")
