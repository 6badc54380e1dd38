"""The line that an interactive login begins with. Pure."""

from kgpud.idle import idle_ms, warns
from kgpud.life_settings import Life
from kgpud.lowbalance import WARNINGS
from store.records import Rental

_HOUR_MS = 3_600_000


def line(rental: Rental, balance: int, burn_per_hour: int, now: int, life: Life) -> str:
    """Return it: which pod, what it costs, how long the balance lasts, that nothing is kept.

    `burn_per_hour` is what all of the account's running rentals cost together, in credits.
    """
    gpus = f"{rental.gpu_count} x {rental.gpu_model}" if rental.gpu_count else "no GPU"
    parts = [
        rental.pod_id,
        gpus,
        f"{rental.rate_per_hour} credits/h",
        _lasting(balance, burn_per_hour or rental.rate_per_hour),
        "its disk ends with the rental",
    ]
    if warns(rental, now, life):
        parts.append(f"idle for {idle_ms(rental, now) // _HOUR_MS} h until now")
    return "kgpud: " + " | ".join(parts)


def _lasting(balance: int, burn_per_hour: int) -> str:
    if not burn_per_hour:
        return f"{balance} credits left"
    minutes = balance * 60 // burn_per_hour
    if minutes <= WARNINGS[0]:
        return f"BALANCE LASTS {minutes} MIN, then the rental is released"
    return f"balance lasts {minutes} min" if minutes < 120 else f"balance lasts {minutes // 60} h"  # noqa: PLR2004 - two hours
