"""Golden files: what is printed or sent today, reviewed once and compared from then on."""

import os
from pathlib import Path
from typing import Any

import yaml

GOLDEN = Path(__file__).parent / "golden"


def compare(name: str, text: str) -> None:
    """Compare a text with its golden file; with WRITE_GOLDEN=1 it becomes the golden file."""
    path = GOLDEN / name
    if os.environ.get("WRITE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text


def as_yaml(document: Any) -> str:
    return yaml.safe_dump(document, sort_keys=False, width=100, allow_unicode=True)
