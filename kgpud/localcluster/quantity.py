"""Kubernetes quantities (`500m`, `2`, `64Gi`, `1e3`) as whole numbers."""

import re
from decimal import Decimal

_FORM = re.compile(r"([+-]?[0-9.]+)((?:[eE][-+]?[0-9]+)|[numkMGTPE]|[KMGTPE]i|)")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


def thousandths(value: object) -> int:
    """Return a quantity in thousandths, rounded up. ValueError when it is none."""
    matched = _FORM.fullmatch(str(value)) if isinstance(value, str | int | float) else None
    if matched is None or isinstance(value, bool):
        raise ValueError(value)
    try:
        number = Decimal(matched[1])
    except ArithmeticError:
        raise ValueError(value) from None
    suffix = matched[2]
    if suffix in _BINARY:
        number *= 1 << _BINARY[suffix]
    elif suffix in _DECIMAL:
        number = number.scaleb(_DECIMAL[suffix])
    else:
        number = number.scaleb(int(suffix[1:]))
    return int(-(-number * 1000 // 1))


def whole(value: object) -> int:
    """Return a quantity in units, rounded up. ValueError when it is none."""
    return -(-thousandths(value) // 1000)
