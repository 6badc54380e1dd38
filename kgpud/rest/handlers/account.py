"""The caller's own account."""

from datetime import UTC, datetime

from kgpud.clock import rfc3339
from kgpud.rest.call import Call
from kgpud.rest.shapes.account import Balance, Me, Quota

_HOUR_MS = 3_600_000
_YEAR_9999_MS = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp()) * 1000


async def get_me(call: Call) -> Me:
    """Show the account behind the token."""
    account = call.account
    used = await call.services.rentals.gpus_used(account.account_id)
    return Me(
        user_id=account.account_id,
        email=account.email,
        name=account.name,
        role=account.role,
        status=account.status,
        credits=account.balance,
        quota=Quota(gpus=account.quota_gpus, gpus_used=used),
    )


async def get_balance(call: Call) -> Balance:
    """Show the credits, how fast they go, and when they will be gone."""
    account = call.account
    burn = await call.services.rentals.burn_per_hour(account.account_id)
    return Balance(
        credits=account.balance,
        burn_per_hour=burn,
        lasts_until=_lasts_until(call.services.clock.now_ms(), account.balance, burn),
    )


def _lasts_until(now_ms: int, credits_left: int, burn_per_hour: int) -> str | None:
    if not burn_per_hour:
        return None
    end = now_ms + credits_left * _HOUR_MS // burn_per_hour
    # Later than a date can be written is as good as for ever.
    return rfc3339(end) if end < _YEAR_9999_MS else None
