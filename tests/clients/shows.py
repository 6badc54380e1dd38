"""What works with which client: one table, made of what the tests say that they show."""

from collections.abc import Callable, Sequence
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
    clients: str, *whats: str, on: tuple[str, ...] = (DEFAULT, BARE), answer: str = YES
) -> Callable[[Test], Test]:
    """Run a test on each image, as `image`, and put what it shows into the table.

    `clients` are names of `CLIENTS`, separated by ``|``.
    """
    for client in clients.split(" | "):
        assert client in CLIENTS, client
        CLAIMS.extend(Claim(client, what, image, answer) for what in whats for image in on)

    def marked(test: Test) -> Test:
        as_marked: Test = pytest.mark.parametrize("image", on, indirect=True, ids=short)(test)
        return as_marked

    return marked


def short(image: Any) -> str:
    """Name an image in a test's id."""
    return str(image).partition(":")[0]


def table(claims: Sequence[Claim] = CLAIMS) -> str:
    """Return the table in Markdown: a row for what a client does alike on each image.

    ValueError where two tests disagree or an image is missing.
    """
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for claim in claims:
        answers = cells.setdefault((claim.client, claim.what), {})
        if answers.setdefault(claim.image, claim.answer) != claim.answer:
            raise ValueError(f"two answers: {claim}")
    rows: dict[tuple[str, str, str], list[str]] = {}
    for client, what in sorted(cells, key=lambda cell: CLIENTS.index(cell[0])):
        answers = cells[client, what]
        if set(answers) != {DEFAULT, BARE}:
            raise ValueError(f"{client}, {what}: shown on {set(answers)} only")
        rows.setdefault((client, answers[DEFAULT], answers[BARE]), []).append(what)
    lines = [f"| | | `{DEFAULT}` | `{BARE}` |", "|---|---|---|---|"]
    for (client, default, bare), whats in rows.items():
        lines.append(f"| {client} | {'; '.join(whats)} | {default} | {bare} |")
    return "\n".join(lines) + "\n"
