"""What was spent: a plot, a table, and the same as CSV."""

import csv
import io
from collections.abc import Sequence

from kgpud.dashboard import plot
from kgpud.dashboard.visit import Answer, File, Page, Visit
from store.ledger import Days, DayUsage

_DAYS = 30
_DAY_MS = 86_400_000
_ROWS = 1000
_DANGEROUS = ("=", "+", "-", "@", "\t", "\r")


async def show(visit: Visit) -> Answer:
    """Show the last 30 days."""
    today = visit.services.clock.now_ms() // _DAY_MS
    rows = await _usage(visit, since=today - _DAYS + 1)
    spent: dict[tuple[int, str], int] = {}
    for row in rows:
        key = row.day, row.gpu_model
        spent[key] = spent.get(key, 0) + row.credits - row.refunded_credits
    return Page(
        "usage.html",
        {
            "rows": rows,
            "day_ms": _DAY_MS,
            "plot": plot.bars(spent, range(today - _DAYS + 1, today + 1)),
            "models": sorted({row.gpu_model for row in rows}),
            "total": sum(row.credits - row.refunded_credits for row in rows),
            "lines": await visit.services.accounts.ledger(visit.account.account_id, _DAYS),
        },
    )


async def as_csv(visit: Visit) -> Answer:
    """Return all usage as a table for a spreadsheet."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(("day", "pod_id", "name", "gpu_model", "gpu_count", "minutes", "credits"))
    for row in await _usage(visit, since=None):
        day = plot.date(row.day)
        credits_ = row.credits - row.refunded_credits
        minutes = row.minutes - row.refunded_minutes
        cells = (row.pod_id, _plain(row.name), _plain(row.gpu_model))
        table.writerow((day, *cells, row.gpu_count, minutes, credits_))
    return File(text.getvalue(), "text/csv", "kgpu-usage.csv")


async def _usage(visit: Visit, *, since: int | None) -> Sequence[DayUsage]:
    which = Days(since, None, None, _ROWS if since is not None else -1)
    return await visit.services.statements.usage(visit.account.account_id, which)


def _plain(text: str) -> str:
    """Keep a spreadsheet from taking a name for a formula."""
    return f"'{text}" if text.startswith(_DANGEROUS) else text
