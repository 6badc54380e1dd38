"""The caller's own account: who it is, what it has, and where its credits went."""

from datetime import UTC, datetime

from kgpud.clock import rfc3339
from kgpud.rest.call import Call
from kgpud.rest.shapes.account import Balance, LedgerLine, Me, Quota, Usage, UsageQuery
from kgpud.rest.shapes.pages import Page, PageQuery, page
from store import records
from store.ledger import Days, DayUsage

_DAY_SECONDS = 86_400
_YEAR_9999_MS = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp()) * 1000


async def get_me(call: Call) -> Me:
    """Show the account behind the token."""
    account = call.account
    gpus, cpu_pods = await call.services.rentals.in_use(account.account_id)
    left = await get_balance(call)
    return Me(
        user_id=account.account_id,
        email=account.email,
        name=account.name,
        role=account.role,
        status=account.status,
        credits=account.balance,
        burn_per_hour=left.burn_per_hour,
        lasts_until=left.lasts_until,
        quota=Quota(
            gpus=account.quota_gpus,
            gpus_used=gpus,
            cpu_pods=account.quota_cpu_pods,
            cpu_pods_used=cpu_pods,
        ),
    )


async def get_balance(call: Call) -> Balance:
    """Show the credits, how fast they go, and when they will be gone."""
    spending = await call.services.statements.spending(call.account.account_id)
    return Balance(
        credits=call.account.balance,
        burn_per_hour=spending.burn_per_hour,
        lasts_until=_lasts_until(spending.ends_at),
    )


async def list_ledger(call: Call[None, PageQuery]) -> Page[LedgerLine]:
    """List every change of the balance, newest first."""
    query = call.query
    before = None if query.cursor is None else query.cursor[0]
    return page(
        await call.services.accounts.ledger(call.account.account_id, query.limit + 1, before),
        query.limit,
        lambda line: (line.id, ""),
        _line,
    )


async def list_usage(call: Call[None, UsageQuery]) -> Page[Usage]:
    """List what each rental used on each UTC day, newest day first."""
    query = call.query
    which = Days(query.since, query.until, query.cursor, query.limit + 1)
    return page(
        await call.services.statements.usage(call.account.account_id, which),
        query.limit,
        lambda used: (used.day, used.pod_id),
        _usage,
    )


def _lasts_until(ends_at: int | None) -> str | None:
    # Later than a date can be written is as good as for ever.
    return None if ends_at is None or ends_at >= _YEAR_9999_MS else rfc3339(ends_at)


def _line(line: records.LedgerLine) -> LedgerLine:
    return LedgerLine(
        id=line.id,
        at=rfc3339(line.at),
        kind=line.kind,
        amount=line.amount,
        balance_after=line.balance_after,
        pod_id=line.pod_id,
        minutes=line.minutes,
        note=line.note,
    )


def _usage(used: DayUsage) -> Usage:
    return Usage(
        day=datetime.fromtimestamp(used.day * _DAY_SECONDS, UTC).date().isoformat(),
        pod_id=used.pod_id,
        name=used.name,
        gpu_model=used.gpu_model,
        gpu_count=used.gpu_count,
        minutes=used.minutes,
        credits=used.credits,
        refunded_minutes=used.refunded_minutes,
        refunded_credits=used.refunded_credits,
    )
