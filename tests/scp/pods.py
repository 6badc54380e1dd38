"""The pod's side of an upload as scp-receive.sh holds it, in memory: it does what it is told."""

import io
import posixpath
import tarfile
from collections.abc import Generator, Iterator

from gateway.scp import ScpCommand
from gateway.scp_place import Place
from gateway.scp_receive import Receiving
from gateway.scp_records import Outbox

BLOCK = 65536


class MemoryPod:
    """Takes operations, writes `files`, and counts in `synced` how often it said it had."""

    def __init__(self, failure: bytes = b"") -> None:
        self.files: dict[bytes, bytes] = {}
        self.folders: set[bytes] = set()
        self.synced = 0
        self.ended = False
        self._failure = failure
        self._data = b""
        self._said = b""
        self._steps = self._operations()

    def feed(self, data: bytes) -> bytes:
        """Take bytes; return the answers to them."""
        self._data += data
        if not self.ended:
            next(self._steps)
        said, self._said = self._said, b""
        return said

    def _operations(self) -> Iterator[None]:
        while not self.ended:
            words = (yield from self._line()).split(b" ")
            path = yield from self._line()
            if words[0] == b"file":
                size = int(words[-2]) * BLOCK + int(words[-1])
                self._write(path, (yield from self._exactly(size)))
            elif words[0] == b"folder":
                self.folders.add(path)
                self._said += b"+new\n"
            elif words[0] == b"unpack":
                self._unpack(path, (yield from self._chunks()))
            elif words[0] in {b"sync", b"create"}:
                self.synced += words[0] == b"sync"
                self._said += b"=\n"
            elif words[0] == b"quit":
                self.ended = True
            else:
                assert words[0] == b"finish", words
        yield

    def _write(self, path: bytes, data: bytes) -> None:
        if self._failure:
            self._said += b"!" + path + b": " + self._failure + b"\n"
        else:
            self.files[path] = data

    def _unpack(self, path: bytes, archive: bytes) -> None:
        with tarfile.open(
            fileobj=io.BytesIO(archive), encoding="utf-8", errors="surrogateescape"
        ) as tar:
            for member in tar:
                name = posixpath.normpath(
                    path + b"/" + member.name.encode(errors="surrogateescape")
                )
                file = tar.extractfile(member)
                if file:
                    self._write(name, file.read())
                else:
                    self.folders.add(name)
        self._said += b"=2\n" if self._failure else b"=0\n"

    def _chunks(self) -> Generator[None, None, bytes]:
        archive = b""
        while (line := (yield from self._line())) != b".":
            blocks, rest = map(int, line.split(b" "))
            archive += yield from self._exactly(blocks * BLOCK + rest)
        return archive

    def _line(self) -> Generator[None, None, bytes]:
        while b"\n" not in self._data:
            yield
        line, _, self._data = self._data.partition(b"\n")
        return line

    def _exactly(self, size: int) -> Generator[None, None, bytes]:
        while len(self._data) < size:
            yield
        taken, self._data = self._data[:size], self._data[size:]
        return taken


class Upload:
    """A conversation with such a pod, which may lag behind."""

    def __init__(
        self, *, packs: bool = False, preserve: bool = False, failure: bytes = b""
    ) -> None:
        self.out = Outbox()
        self.pod = MemoryPod(failure)
        self.client = b""
        self.stderr = b""
        self._for_pod = b""
        command = ScpCommand("t", b"x", recursive=True, preserve=preserve)
        self.talk = Receiving(command, Place(b"top", b"folder", 0o22, packs), self.out)
        self._take()

    def write(self, data: bytes) -> None:
        self.talk.from_client(data)
        self._go_on()

    def end(self) -> None:
        self.talk.client_ended()
        self._go_on()

    def pod_works(self) -> None:
        """Let the pod do all that it was told, and what it is told because of that."""
        while self._for_pod:
            data, self._for_pod = self._for_pod, b""
            said = self.pod.feed(data)
            if said:
                self.talk.from_pod(said)
            if self.pod.ended:
                self.talk.pod_ended(0)
            self._go_on()

    def _go_on(self) -> None:
        while self.talk.more:
            self.talk.go_on()
        self._take()

    def _take(self) -> None:
        taken = self.out.take()
        self.client += b"".join(taken.client)
        self.stderr += b"".join(taken.stderr)
        self._for_pod += b"".join(taken.pod)
