"""Kubernetes quantities (``500m``, ``16Gi``), exactly and without floats."""

import re
from fractions import Fraction

_SCALES: dict[str, Fraction] = {
    "m": Fraction(1, 1000),
    "": Fraction(1),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
    "Ti": Fraction(2**40),
}
# Bounded digits: what is parsed here came from a stranger.
_SHAPE = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,9}))?(m|[kMGT]|[KMGT]i)?")


def parse(text: str) -> Fraction:
    """Return the value of an unsigned quantity. Raises ValueError for anything else."""
    match = _SHAPE.fullmatch(text)
    if not match:
        raise ValueError("not a Kubernetes quantity")
    whole, fraction, suffix = match[1], match[2] or "", match[3] or ""
    return Fraction(int(whole + fraction), 10 ** len(fraction)) * _SCALES[suffix]
