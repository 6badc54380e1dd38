"""What a check finds: a verdict, what was seen, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How bad it is. Only FAIL makes the doctor's exit code 1."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True)
class Finding:
    """One line of the table. `remedy` is a sentence for an operator, "" where nothing is wrong."""

    check: str
    verdict: Verdict
    detail: str
    remedy: str = ""


def ok(check: str, detail: str) -> Finding:
    """Say that all is well."""
    return Finding(check, Verdict.OK, detail)


def warn(check: str, detail: str, remedy: str) -> Finding:
    """Say what works and should not stay as it is."""
    return Finding(check, Verdict.WARN, detail, remedy)


def fail(check: str, detail: str, remedy: str) -> Finding:
    """Say what does not work."""
    return Finding(check, Verdict.FAIL, detail, remedy)


def skip(check: str, why: str) -> Finding:
    """Say why nothing can be told."""
    return Finding(check, Verdict.SKIP, why)
