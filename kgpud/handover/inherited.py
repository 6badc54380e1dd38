"""The successor's end of a handover: what it was given by the elder that started it."""

import contextlib
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from kgpud.address import Address
from kgpud.handover.wire import Message, Wire, WireClosed, packed

#: Where an elder says what it gives.
VARIABLE = "KGPUD_HANDOVER"


@dataclass(frozen=True)
class Listening:
    """A bound listener, and the address that it was configured with."""

    sock: socket.socket
    configured: Address

    def given(self) -> Message:
        """Return what a successor is told of it."""
        return {"descriptor": self.sock.fileno(), "address": str(self.configured)}

    @classmethod
    def take(cls, given: Message) -> Self:
        """Return what `given` tells of."""
        return cls(socket.socket(fileno=given["descriptor"]), Address.parse(given["address"]))


@dataclass(frozen=True)
class Inherited:
    """What a successor was given: listeners, the lock of the state folder, the elders' wires.

    The last of `wires` leads to the elder that started us.
    """

    state: Path
    http: Listening
    ssh: Listening
    lock: int
    wires: list[socket.socket]

    @classmethod
    def take(cls) -> Self | None:
        """Return what this process inherited; None for one that was started in the usual way.

        Goes on in a child of init's: as a child of the elder's it would be a zombie where it dies,
        and systemd would not see it die.
        """
        text = os.environ.pop(VARIABLE, None)
        if text is None:
            return None
        if os.fork():
            os._exit(0)
        given = json.loads(text)
        inherited = cls(
            state=Path(given["state"]),
            http=Listening.take(given["http"]),
            ssh=Listening.take(given["ssh"]),
            lock=given["lock"],
            wires=[socket.socket(fileno=wire) for wire in given["wires"]],
        )
        for descriptor in (given["lock"], given["http"]["descriptor"], given["ssh"]["descriptor"]):
            os.set_inheritable(descriptor, False)
        for wire in inherited.wires:
            wire.set_inheritable(False)
        inherited.wires[-1].send(packed({"pid": os.getpid()}))
        return inherited

    async def wait_for_go(self) -> None:
        """Tell the elder that we could serve; return once the store is ours. Raises WireClosed."""
        parent = self._parent()
        await parent.send({"hello": True})
        while "go" not in await parent.receive():
            pass

    async def serving(self) -> None:
        """Tell the elder that there is no way back. Raises WireClosed."""
        await self._parent().send({"serving": True})

    def failed(self, why: str) -> None:
        """Tell the elder why we end, if it can still hear that."""
        with contextlib.suppress(OSError):
            self.wires[-1].send(packed({"failed": why[:10_000]}))

    def _parent(self) -> Wire:
        try:
            return Wire(self.wires[-1])
        except OSError as error:
            # It was gone when it was greeted, and the wire was closed for that.
            raise WireClosed from error
