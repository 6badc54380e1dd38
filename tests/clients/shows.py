"""What works with which client: one table, made of what the tests say that they show."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

DEFAULT, BARE = "kgpu-pytorch:latest", "bare:latest"
YES = "yes"
# The table's order.
CLIENTS = (
    "ssh",
    "scp",
    "scp -O",
    "sftp",
    "rsync",
    "sshfs",
    "git",
    "ansible",
    "plink",
    "pscp, psftp",
    "dbclient",
    "paramiko",
    "lftp",
    "rclone",
    "WinSCP",
)

Test = Callable[..., None]


@dataclass(frozen=True)
class Claim:
    """One cell: what a test shows of a client on an image, "yes" or what is said instead."""

    client: str
    what: str
    image: str
    answer: str


CLAIMS: list[Claim] = []


def shows(
    client: str, what: str, *, on: tuple[str, ...] = (DEFAULT, BARE), answer: str = YES
) -> Callable[[Test], Test]:
    """Run a test on each image, as `image`, and put what it shows into the table."""
    assert client in CLIENTS
    CLAIMS.extend(Claim(client, what, image, answer) for image in on)

    def marked(test: Test) -> Test:
        as_marked: Test = pytest.mark.parametrize("image", on, indirect=True, ids=short)(test)
        return as_marked

    return marked


def short(image: Any) -> str:
    """Name an image in a test's id."""
    return str(image).partition(":")[0]


def table() -> str:
    """Return the table in Markdown. ValueError where two tests disagree or a cell has none."""
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for claim in CLAIMS:
        row = cells.setdefault((claim.client, claim.what), {})
        if row.setdefault(claim.image, claim.answer) != claim.answer:
            raise ValueError(f"two answers: {claim}")
    lines = [f"| client | what | `{DEFAULT}` | `{BARE}` |", "|---|---|---|---|"]
    for client, what in sorted(cells, key=lambda cell: CLIENTS.index(cell[0])):
        row = cells[client, what]
        if set(row) != {DEFAULT, BARE}:
            raise ValueError(f"{client}, {what}: shown on {set(row)} only")
        lines.append(f"| {client} | {what} | {row[DEFAULT]} | {row[BARE]} |")
    return "\n".join(lines) + "\n"
