"""People who come in all the time, and count how often they are turned away."""

import http.client
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from .house import House


class Knocking:
    """Counts what each kind of visitor met: ``ok``, or what went wrong."""

    def __init__(self) -> None:
        self.met: dict[str, Counter[str]] = {}
        self._over = threading.Event()

    @contextmanager
    def going_on(self, visits: dict[str, Callable[[], None]]) -> Iterator[None]:
        """Make each visit again and again while the block runs."""
        threads = [threading.Thread(target=self._go_on, args=visit) for visit in visits.items()]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join(60)

    def _go_on(self, kind: str, visit: Callable[[], None]) -> None:
        met = self.met[kind] = Counter()
        while not self._over.is_set():
            try:
                visit()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
                met[repr(error)] += 1
            else:
                met["ok"] += 1
            time.sleep(0.005)


@contextmanager
def knocking(house: House, doors: int = 1) -> Iterator[Knocking]:
    """Visit HTTP and SSH in every way while the block runs."""
    http_host, _, http_port = house.dev.env["KGPU_API_BASE"].split("/")[2].rpartition(":")
    ssh = (house.dev.env["KGPU_SSH_HOST"], int(house.dev.env["KGPU_SSH_PORT"]))
    kept = http.client.HTTPConnection(http_host, int(http_port), timeout=60)

    def ask(connection: http.client.HTTPConnection) -> None:
        connection.request("GET", "/v1/gpu-models")
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()

    def ask_anew() -> None:
        connection = http.client.HTTPConnection(http_host, int(http_port), timeout=60)
        try:
            ask(connection)
        finally:
            connection.close()

    def greet() -> None:
        with socket.create_connection(ssh, timeout=60) as client:
            assert client.recv(100).startswith(b"SSH-2.0-")

    def work() -> None:
        done = house.pod.ssh("echo here")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"here\n", b"")

    visits = {"http": ask_anew, "http, kept open": lambda: ask(kept), "ssh": work}
    visits |= {f"door {number}": greet for number in range(doors)}
    with ExitStack() as stack:
        stack.callback(kept.close)
        knocks = Knocking()
        stack.enter_context(knocks.going_on(visits))
        yield knocks
