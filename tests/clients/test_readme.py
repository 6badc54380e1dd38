"""README's table says what these tests show, no less and no more."""

import importlib
from pathlib import Path

import pytest

from . import shows
from .shows import BARE, CLIENTS, DEFAULT, Claim

HERE = Path(__file__).parent
README = HERE.parents[1] / "README.md"


def every_claim() -> None:
    """Import all tests, each of which says what it shows."""
    for path in sorted(HERE.glob("test_*.py")):
        importlib.import_module(f"{__package__}.{path.stem}")


def test_the_table_is_what_is_shown() -> None:
    every_claim()
    after = README.read_text().split("\n## What works with which client\n", 1)[1]
    section = after.split("\n## ", 1)[0]
    assert shows.table() in section, "python -m tests.clients prints the table"


def test_every_client_is_in_it() -> None:
    every_claim()
    assert {claim.client for claim in shows.CLAIMS} == set(CLIENTS)


@pytest.mark.parametrize(
    "claims",
    [
        [Claim("ssh", "x", DEFAULT, "yes")],
        [Claim("ssh", "x", image, answer) for image in (DEFAULT, BARE) for answer in ("yes", "no")],
    ],
)
def test_half_a_row_and_two_answers_are_no_table(claims: list[Claim]) -> None:
    with pytest.raises(ValueError):
        shows.table(claims)
