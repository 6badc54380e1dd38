"""What is asked often reads few rows, however long an installation has run: SQLite's own plans."""

import re
from collections.abc import Awaitable, Callable, Sequence

from store import accounts, actions, bills, events, ledger, objects, rentals, sessions, tokens
from store.db import Connection, Database, Row, Value
from store.rentals import Which

# Partial indexes of what is live, open or not gone: few rows, however many there were.
FEW = {
    "rentals_live",
    "rentals_not_gone",
    "rentals_unswept",
    "sessions_open",
    "objects_live",
    "objects_not_gone",
}
BEFORE = (1, "x")


class Explained(Connection):
    """Notes the plan of whatever is run."""

    def __init__(self, inner: Connection) -> None:
        super().__init__(inner._raw)
        self.steps: list[str] = []

    async def rows(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        plan = await super().rows(f"EXPLAIN QUERY PLAN {sql}", parameters)
        self.steps += [row["detail"] for row in plan]
        return await super().rows(sql, parameters)

    async def run(self, sql: str, parameters: Sequence[Value] = ()) -> int:
        await self.rows(sql, parameters)
        return 0


def long(steps: Sequence[str]) -> list[str]:
    """Return the steps that read a table as a whole."""
    scans = [re.fullmatch(r"SCAN (\w+)( USING (?:COVERING )?INDEX (\w+))?.*", one) for one in steps]
    return [one[0] for one in scans if one and one[3] not in FEW and one[1] != "json_each"]


ASKED: dict[str, Callable[[Connection], Awaitable[object]]] = {
    "a bearer token": lambda c: tokens.find(c, "x"),
    "an account": lambda c: accounts.find(c, "x"),
    "a key": lambda c: rentals.by_fingerprint(c, "x"),
    "a rental": lambda c: rentals.get(c, "x"),
    "an account's rentals": lambda c: rentals.newest(c, Which("x", before=BEFORE)),
    "an account's live ones": lambda c: rentals.newest(c, Which("x", active=True)),
    "an account's running ones": lambda c: rentals.newest(c, Which("x", phase="Running")),
    "everybody's live rentals": lambda c: rentals.newest(c, Which(active=True)),
    "everybody's running ones": lambda c: rentals.newest(c, Which(phase="Running")),
    "the next page of all": lambda c: rentals.newest(c, Which(before=BEFORE, limit=1)),
    "what an account rents": lambda c: rentals.in_use(c, "x"),
    "who holds a class": lambda c: rentals.holding(c, "x"),
    "what did not start": lambda c: rentals.not_started(c, 1),
    "what nobody uses": lambda c: rentals.unused(c, 1),
    "what stands": rentals.standing,
    "what is to be deleted": rentals.unswept,
    "the next minute": bills.next_due,
    "what is due": lambda c: bills.due(c, 1),
    "what one rental owes": lambda c: bills.due(c, 1, "x"),
    "what an account burns": lambda c: bills.running(c, "x"),
    "low balances": lambda c: bills.short(c, 120),
    "an account's ledger": lambda c: ledger.newest(c, "x", 10, 1),
    "a rental's events": lambda c: events.after(c, "x", 1, 10),
    "an account's news": lambda c: events.mark(c, "x"),
    "a rental's sessions": lambda c: sessions.newest(c, 10, pod_id="x"),
    "an account's sessions": lambda c: sessions.newest(c, 10, account_id="x", before=BEFORE),
    "open sessions": lambda c: sessions.newest(c, 10, only_open=True),
    "an account's open ones": lambda c: sessions.newest(c, 10, account_id="x", only_open=True),
    "the next page of sessions": lambda c: sessions.newest(c, 10, before=BEFORE),
    "how many are open": sessions.count_open,
    "what a dead daemon lost": lambda c: sessions.lost(c, "x", 1),
    "an account's trail": lambda c: actions.newest(c, 10, account_id="x", before=1),
    "an account's objects": lambda c: objects.of_account(c, "x", BEFORE, 10),
    "what objects hold": lambda c: objects.held(c, "x", 1),
    "objects that are over": lambda c: objects.past_due(c, 1),
    "objects left behind": objects.left_by_rentals,
}


async def test_no_table_is_read_as_a_whole(db: Database) -> None:
    read: dict[str, list[str]] = {}
    for name, ask in ASKED.items():
        async with db.reading() as rx:
            explained = Explained(rx)
            await ask(explained)
        assert explained.steps
        read[name] = long(explained.steps)
    assert {name: steps for name, steps in read.items() if steps} == {}


async def test_what_would_be_noticed(db: Database) -> None:
    async with db.reading() as rx:
        explained = Explained(rx)
        await explained.rows("SELECT * FROM sessions WHERE closed_at IS NULL OR peer = ?", ("x",))
    assert long(explained.steps) == ["SCAN sessions"]


async def test_forgetting_looks_at_old_rentals_alone(db: Database) -> None:
    async with db.transaction() as tx:
        explained = Explained(tx)
        await events.forget(explained, 1, 10)
    assert "SCAN events" not in explained.steps
