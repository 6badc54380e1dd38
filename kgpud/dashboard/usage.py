"""What was spent: a plot, a table, and the same as CSV."""

import csv
import io
from collections import defaultdict
from collections.abc import Sequence

from kgpud.dashboard import plot
from kgpud.dashboard.visit import Answer, File, Page, Visit
from store.ledger import Days, DayUsage

_DAYS = 30
_DAY_MS = 86_400_000
_ROWS, _LINES = 50, 25
# More are not added up while others wait for the loop.
_MOST = 5000
# As wide as the text of a desk's page, and of a phone's.
_BROAD, _THIN = (960.0, 260.0), (328.0, 240.0)
_DANGEROUS = ("=", "+", "-", "@", "\t", "\r")


async def show(visit: Visit) -> Answer:
    """Show the last 30 days."""
    today = visit.services.clock.now_ms() // _DAY_MS
    days = range(today - _DAYS + 1, today + 1)
    rows = await _usage(visit, since=days[0], limit=_MOST)
    spent: defaultdict[tuple[int, str], int] = defaultdict(int)
    for row in rows:
        spent[row.day, row.gpu_model] += row.credits - row.refunded_credits
    used = {row.gpu_model for row in rows}
    return Page(
        "usage.html",
        {
            "rows": rows[:_ROWS],
            "hidden": len(rows) - _ROWS,
            "partial": len(rows) == _MOST,
            "day_ms": _DAY_MS,
            "broad": plot.bars(spent, days, width=_BROAD[0], height=_BROAD[1]),
            "thin": plot.bars(spent, days, width=_THIN[0], height=_THIN[1]),
            # A class keeps its colour, whatever was used.
            "models": sorted(used | set(visit.services.catalog.models())),
            "used": sorted(used),
            "total": sum(spent.values()),
            "lines": await visit.services.accounts.ledger(visit.account.account_id, _LINES),
        },
    )


async def as_csv(visit: Visit) -> Answer:
    """Return all usage as a table for a spreadsheet."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(("day", "pod_id", "name", "gpu_model", "gpu_count", "minutes", "credits"))
    for row in await _usage(visit, since=None, limit=-1):
        day = plot.date(row.day)
        credits_ = row.credits - row.refunded_credits
        minutes = row.minutes - row.refunded_minutes
        cells = (row.pod_id, _plain(row.name), _plain(row.gpu_model))
        table.writerow((day, *cells, row.gpu_count, minutes, credits_))
    return File(text.getvalue(), "text/csv", "kgpu-usage.csv")


async def _usage(visit: Visit, *, since: int | None, limit: int) -> Sequence[DayUsage]:
    which = Days(since, None, None, limit)
    return await visit.services.statements.usage(visit.account.account_id, which)


def _plain(text: str) -> str:
    """Keep a spreadsheet from taking a name for a formula."""
    return f"'{text}" if text.startswith(_DANGEROUS) else text
