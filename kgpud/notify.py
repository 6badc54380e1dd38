"""sd_notify(3): telling systemd that we are ready, or stopping."""

import os
import socket

import structlog

log = structlog.get_logger()


def notify(state: str) -> None:
    """Send e.g. ``READY=1`` to the socket that systemd named; do nothing where there is none."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(state.encode(), address)
        except OSError as error:
            # No session ends because nobody listens.
            log.warning("notify.failed", state=state, error=error.strerror)
