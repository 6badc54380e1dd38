"""The least that a relay can cost: it receives over TCP, seals 32 KiB at a time, sends over TCP.

The same copies through the kernel and the same AES-GCM as the bastion's, and nothing else: no SSH,
no websocket, no event loop, no bounds. What the bastion costs above it is what it does; what sshd
costs below it is one way through TCP less.
"""

import os
import socket
import time
from threading import Thread

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PACKET, TAG = 32 * 1024, 16
READ = 1024 * 1024


def floor(size: int) -> float:
    """Return the CPU seconds that relaying `size` bytes costs, without those of both ends."""
    source, inward = _connected()
    outward, sink = _connected()
    ends = os.fork()
    if ends == 0:
        inward.close()
        outward.close()
        _both_ends(source, sink, size)
        os._exit(0)
    source.close()
    sink.close()
    began = time.process_time()
    with inward, outward:
        _relay(inward, outward)
    cost = time.process_time() - began
    os.waitpid(ends, 0)
    return cost


def _connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        return one, listener.accept()[0]


def _both_ends(source: socket.socket, sink: socket.socket, size: int) -> None:
    def drain() -> None:
        memory = bytearray(READ)
        while sink.recv_into(memory):
            pass

    drained = Thread(target=drain)
    drained.start()
    piece = bytes(READ)
    for _ in range(size // READ):
        source.sendall(piece)
    source.close()
    drained.join()


def _relay(inward: socket.socket, outward: socket.socket) -> None:
    received = memoryview(bytearray(READ))
    sealed = memoryview(bytearray(READ + READ // PACKET * TAG + PACKET))
    cipher, nonce = AESGCM(os.urandom(16)), os.urandom(12)
    while size := inward.recv_into(received):
        at = 0
        for start in range(0, size, PACKET):
            piece = received[start : min(start + PACKET, size)]
            end = at + len(piece) + TAG
            cipher.encrypt_into(nonce, piece, None, sealed[at:end])
            at = end
        outward.sendall(sealed[:at])
