"""What was spent: a plot, a table, and the same as CSV."""

import asyncio
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
# More are neither added up nor written while others wait for the loop.
_MOST, _LINES_A_TURN = 5000, 100
# As wide as the text of a desk's page, and of a phone's.
_BROAD, _THIN = (960.0, 260.0), (328.0, 240.0)
_DANGEROUS = ("=", "+", "-", "@", "\t", "\r")


async def show(visit: Visit) -> Answer:
    """Show the last 30 days."""
    today = visit.services.clock.now_ms() // _DAY_MS
    days = range(today - _DAYS + 1, today + 1)
    rows = await _usage(visit, since=days[0])
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
    text, before = io.StringIO(), None
    table = csv.writer(text)
    table.writerow(("day", "pod_id", "name", "gpu_model", "gpu_count", "minutes", "credits"))
    while rows := await _usage(visit, before=before):
        for number, row in enumerate(rows, 1):
            table.writerow(_cells(row))
            if number % _LINES_A_TURN == 0:
                await asyncio.sleep(0)
        before = rows[-1].day, rows[-1].pod_id
    return File(text.getvalue(), "text/csv", "kgpu-usage.csv")


async def _usage(
    visit: Visit, *, since: int | None = None, before: tuple[int, str] | None = None
) -> Sequence[DayUsage]:
    which = Days(since, None, before, _MOST)
    return await visit.services.statements.usage(visit.account.account_id, which)


def _cells(row: DayUsage) -> tuple[str | int, ...]:
    return (
        plot.date(row.day),
        *(row.pod_id, _plain(row.name), _plain(row.gpu_model), row.gpu_count),
        row.minutes - row.refunded_minutes,
        row.credits - row.refunded_credits,
    )


def _plain(text: str) -> str:
    """Keep a spreadsheet from taking a name for a formula."""
    return f"'{text}" if text.startswith(_DANGEROUS) else text
