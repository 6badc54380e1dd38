"""Kubernetes quantities (`500m`, `2`, `64Gi`, `1e3`) as whole numbers."""

import re
from decimal import ROUND_CEILING, Decimal

_FORM = re.compile(r"([+-]?[0-9.]+)((?:[eE][-+]?[0-9]+)|[numkMGTPE]|[KMGTPE]i|)")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


# Kubernetes keeps nothing larger.
_MOST = Decimal((1 << 63) - 1)


def thousandths(value: object) -> int:
    """Return a quantity in thousandths, rounded up; at most 2⁶³ - 1 units. ValueError if none."""
    matched = _FORM.fullmatch(str(value)) if isinstance(value, str | int | float) else None
    if matched is None or isinstance(value, bool):
        raise ValueError(value)
    try:
        number = _scaled(Decimal(matched[1]), matched[2])
    except ArithmeticError:
        raise ValueError(value) from None
    number = max(-_MOST, min(number, _MOST))
    return int((number * 1000).to_integral_value(ROUND_CEILING))


def _scaled(number: Decimal, suffix: str) -> Decimal:
    if suffix in _BINARY:
        return number * (1 << _BINARY[suffix])
    if suffix in _DECIMAL:
        return number.scaleb(_DECIMAL[suffix])
    return number.scaleb(int(suffix[1:]))


def whole(value: object) -> int:
    """Return a quantity in units, rounded up. ValueError when it is none."""
    return -(-thousandths(value) // 1000)
