"""`docs/api.md`'s table: a test for each line of the product's reference, and each operation."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .document import DOCUMENT

ROOT = Path(__file__).parents[2]
PRODUCT = ROOT.parent / "shared" / "product.md"


def table() -> dict[str, list[str]]:
    """Return the tests of each line of our table."""
    text = (ROOT / "docs/api.md").read_text().partition("## What shows it")[2]
    lines = re.findall(r"^\| `(.+?)` \| (.+) \|$", text, re.MULTILINE)
    return {what: re.findall(r"`(.+?)`", tests) for what, tests in lines}


def lines(product: str) -> Iterator[str]:
    """Yield what the product's sections, tables, limits, tokens and statuses are about."""
    prose = re.sub("```.*?```", "", product, flags=re.DOTALL)
    for heading in re.findall("^##+ (.+)$", prose, re.MULTILINE):
        yield f"§ {heading.split(' — ')[0].split(' (')[0]}"
    for before, row in re.findall(r"(?=(.*)\n(\|.*))", product):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        # A header, or the line below one.
        if not before.startswith("|") or set(row) <= set("|- "):
            continue
        said = cells[1] if cells[0].startswith("**") or not cells[0] else cells[0]
        mark = re.match("[✓✗]", said)
        yield from [f"ssh_pubkey {mark[0]}"] if mark else re.findall("`(.+?)`", said)
    for title in ("Tokens", "Limits"):
        section = product.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        yield from re.findall(r"^- \*\*(.+?)\*\*", section, re.MULTILINE)
    statuses = product.partition("\n## Status codes & errors\n")[2]
    yield from re.findall(r"`([\w-]+)`", statuses)
    yield from ("/openapi.json", "/docs")


@pytest.mark.skipif(not PRODUCT.exists(), reason="the product's document is not beside the clone")
def test_every_line_of_the_product_has_a_test() -> None:
    wanted = set(lines(PRODUCT.read_text()))
    assert len(wanted) > 80
    assert wanted - set(table()) == set()


def test_every_operation_has_a_test() -> None:
    operations = {
        f"{method.upper()} {re.sub('{(pod|object)_id}', '{id}', path)}"
        for path, methods in DOCUMENT["paths"].items()
        for method in methods
    }
    assert operations - set(table()) == set()


def test_every_test_is_there() -> None:
    named = {one for tests in table().values() for one in tests}
    there = {
        f"{path.relative_to(ROOT / 'tests')}::{node.name}"
        for path in (ROOT / "tests").glob("*/test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert named - there == set()
