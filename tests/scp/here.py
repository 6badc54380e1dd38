"""The `ssh` of `scp -S` that stays on this machine.

`python -m tests.scp.here SHELL COMMAND` does what the bastion does with such a command: it speaks
with the client for a script that runs in SHELL, with the PATH that POD_PATH says.
"""

import os
import selectors
import subprocess
import sys
from contextlib import suppress

from gateway import scp, wrapper
from gateway.scp_place import Place
from gateway.scp_receive import Receiving
from gateway.scp_records import Outbox, warning
from gateway.scp_send import Sending

SCRIPTS = {"t": wrapper.script("scp-receive.sh"), "f": wrapper.script("scp-send.sh")}


def main() -> int:
    _, shell, command = sys.argv
    environment = {**os.environ, "PATH": os.environ.get("POD_PATH", os.environ["PATH"])}
    asked = scp.recognise(os.fsencode(command))
    assert asked, command
    environment[scp.SCRIPT] = SCRIPTS[asked.role]
    pod = subprocess.Popen(
        [*shell.split(), "-c", asked.text()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        bufsize=0,
    )
    with pod:
        return speak(asked, pod)


def speak(asked: scp.ScpCommand, pod: subprocess.Popen[bytes]) -> int:
    assert pod.stdin
    assert pod.stdout
    assert pod.stderr
    out = Outbox()
    line = pod.stdout.readline().rstrip(b"\n")
    if not line.startswith(b"kgpud-scp"):
        os.write(1, warning(line.partition(b" ")[2]))
        return 1
    talk = Receiving(asked, Place.read(line), out) if asked.role == "t" else Sending(asked, out)
    wake = selectors.DefaultSelector()
    left = {pod.stdout, pod.stderr}
    wake.register(0, selectors.EVENT_READ)
    for pipe in left:
        wake.register(pipe, selectors.EVENT_READ)
    while talk.exit_code is None:
        flush(out, pod)
        for key, _ in wake.select():
            data = os.read(key.fd, 65536)
            if key.fd == 0:
                if data:
                    talk.from_client(data)
                else:
                    wake.unregister(0)
                    talk.client_ended()
            elif not data:
                wake.unregister(key.fileobj)
                left.remove(key.fileobj)  # type: ignore[arg-type]
                if not left:
                    talk.pod_ended(pod.wait())
            elif key.fileobj is pod.stdout:
                talk.from_pod(data)
            else:
                talk.pod_complained(data)
        work_off(talk)
    flush(out, pod)
    return talk.exit_code


def work_off(talk: Receiving | Sending) -> None:
    while talk.more:
        talk.go_on()


def flush(out: Outbox, pod: subprocess.Popen[bytes]) -> None:
    said = out.take()
    assert pod.stdin
    for fd, pieces in ((1, said.client), (2, said.stderr), (pod.stdin.fileno(), said.pod)):
        data = memoryview(b"".join(pieces))
        with suppress(BrokenPipeError):
            while data:
                data = data[os.write(fd, data) :]


if __name__ == "__main__":
    sys.exit(main())
