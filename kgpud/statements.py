"""What an account's rentals spend: how fast it goes, until when, and where it went. Read-only."""

from dataclasses import dataclass

from kgpud import billing
from store import bills, ledger
from store.db import Database
from store.ledger import Days, DayUsage


@dataclass(frozen=True)
class Spending:
    """How fast an account's credits go, and when the first minute comes that they can't pay.

    `ends_at` is in milliseconds since the epoch; None while nothing is being spent.
    """

    burn_per_hour: int
    ends_at: int | None


class Statements:
    """The spending of accounts, as it is at the moment."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def spending(self, account_id: str) -> Spending:
        """Return how fast the account's running rentals spend its balance."""
        async with self._db.reading() as rx:
            running = await bills.running(rx, account_id)
        burn = sum(one.rate_per_hour for one in running)
        return Spending(burn, billing.runs_out(running))

    async def usage(self, account_id: str, which: Days) -> list[DayUsage]:
        """Return what each of the account's rentals used on each UTC day, newest day first."""
        async with self._db.reading() as rx:
            return await ledger.daily(rx, account_id, which)
