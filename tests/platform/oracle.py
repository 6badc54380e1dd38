"""What everybody owes, worked out a second time: minute by minute, from what happened alone.

Nothing here is shared with the code that bills, nor is its arithmetic: no formula counts minutes,
they are walked through one after the other, and credits are carried from minute to minute. Times
are milliseconds that passed; what the machine's clock said plays no part.
"""

from dataclasses import dataclass, field

MINUTE = 60_000
#: Ends that the operator is to blame for: the last minute is given back.
FAULTS = ("pod_lost", "node_lost", "evicted_by_kubelet:NodePressure")


@dataclass
class Bill:
    """One rental: `paid` is what each of its minutes cost, in order."""

    account: str
    name: str
    rate: int
    started: int | None = None
    finished: int | None = None
    ended: int | None = None
    reason: str | None = None
    paid: list[int] = field(default_factory=list)
    _carried: int = 0

    @property
    def next_minute(self) -> int:
        """When the first minute begins that is not paid."""
        assert self.started is not None
        return self.started + MINUTE * len(self.paid)

    def owes(self, until: int) -> bool:
        """Tell whether a minute has begun that is not paid."""
        if self.started is None or self.ended is not None:
            return False
        return self.next_minute <= (until if self.finished is None else min(until, self.finished))

    def price(self) -> int:
        """Return what the next minute costs: what sixty of them cost, carried on in sixtieths."""
        return (self._carried + self.rate) // 60

    def pay(self) -> None:
        """Add the next minute."""
        self.paid.append(self.price())
        self._carried = (self._carried + self.rate) % 60


class Oracle:
    """Is told what happened, in order, and knows every bill and balance."""

    def __init__(self) -> None:
        self.balances: dict[str, int] = {}
        self.bills: dict[str, Bill] = {}

    def give(self, account: str, amount: int) -> None:
        """Credits were given, or taken."""
        self.balances[account] = self.balances.get(account, 0) + amount

    def rent(self, account: str, name: str, rate: int) -> None:
        """Somebody rented."""
        self.bills[name] = Bill(account, name, rate)

    def charge(self, now: int) -> None:
        """All that began is charged, in the order in which it began."""
        while owing := [bill for bill in self.bills.values() if bill.owes(now)]:
            # One minute of each account's at a time; which account comes first matters to nobody.
            for account in {bill.account for bill in owing}:
                mine = [bill for bill in owing if bill.account == account]
                self._take(min(mine, key=lambda bill: (bill.next_minute, bill.name)))

    def see(self, name: str, started: int | None, finished: int | None) -> None:
        """It became known when a container started, and finished."""
        bill = self.bills[name]
        if bill.ended is None:
            bill.started = started if bill.started is None else bill.started
        if bill.started is None or bill.finished is not None or finished is None:
            return
        if bill.ended is None or finished < bill.ended:
            bill.finished = finished
            if bill.ended is not None:
                self._give_back(bill, finished)

    def end(self, name: str, now: int, reason: str) -> None:
        """A rental's end was accepted."""
        bill = self.bills[name]
        if bill.ended is not None:
            return
        until = now if bill.finished is None else min(now, bill.finished)
        self._give_back(bill, until)
        while bill.owes(until):
            self._take(bill)
        if bill.ended is None:
            bill.ended, bill.reason = until if bill.finished is not None else now, reason
            if reason in FAULTS and bill.paid:
                self.balances[bill.account] += bill.paid.pop()

    def _take(self, bill: Bill) -> None:
        if bill.price() > self.balances[bill.account]:
            bill.ended, bill.reason = bill.next_minute, "out_of_credits"
            return
        self.balances[bill.account] -= bill.price()
        bill.pay()

    def _give_back(self, bill: Bill, until: int) -> None:
        """Take off again what began after `until`, and the minute before that from the operator."""
        while bill.paid:
            last = bill.next_minute - (0 if bill.reason in FAULTS else MINUTE)
            if last <= until:
                return
            self.balances[bill.account] += bill.paid.pop()
