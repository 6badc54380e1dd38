"""The caller's own account: who it is, what it has, and where its credits went."""

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from kgpud.rest.shapes.base import Answer, Time, refused
from kgpud.rest.shapes.pages import PageQuery
from store.records import AccountStatus, LedgerKind, Role

_DAY_SECONDS = 86_400


class Quota(Answer):
    """How many GPUs, and pods without one, an account may hold at once, and holds."""

    gpus: int
    gpus_used: int
    cpu_pods: int
    cpu_pods_used: int


class Me(Answer):
    """The account behind a token."""

    user_id: str
    email: str
    name: str
    role: Role
    status: AccountStatus
    credits: int
    burn_per_hour: int
    """As in Balance."""
    lasts_until: Time | None
    """As in Balance."""
    quota: Quota

    examples = (
        {
            "user_id": "acct_5f3c9a2b7d1e4806",
            "email": "ada@example.org",
            "name": "Ada",
            "role": "user",
            "status": "approved",
            "credits": 99000,
            "burn_per_hour": 1000,
            "lasts_until": "2026-05-29T20:51:23.000Z",
            "quota": {"gpus": 4, "gpus_used": 1, "cpu_pods": 4, "cpu_pods_used": 0},
        },
    )


class Balance(Answer):
    """What is left of the credits."""

    credits: int
    burn_per_hour: int
    """What all running rentals cost in an hour together."""
    lasts_until: Time | None
    """When the first minute begins that the credits don't pay, and ends a rental, if nothing
    changes until then; null: nothing is being spent."""

    examples = (
        {"credits": 99000, "burn_per_hour": 1000, "lasts_until": "2026-05-29T20:51:23.000Z"},
    )


class LedgerLine(Answer):
    """One change of the balance, which is the sum of them all.

    A `usage` line is one rental's minutes that began in one UTC hour: it grows until the hour is
    over. Every other line stays as it was written.
    """

    id: int
    at: Time
    """When the line was last changed."""
    kind: LedgerKind
    amount: int
    balance_after: int
    """The balance right then. Other lines may have moved it while a usage line grew, so this is
    not the sum of the lines up to this one."""
    pod_id: str | None
    minutes: int | None
    """Minutes charged; those of a refund are taken back."""
    note: str

    examples = (
        {
            "id": 7,
            "at": "2026-05-25T21:51:23.041Z",
            "kind": "usage",
            "amount": -1000,
            "balance_after": 99000,
            "pod_id": "gpu-rent-1779745883-ab12cd",
            "minutes": 60,
            "note": "",
        },
    )


class Usage(Answer):
    """What one rental used on one UTC day.

    A minute belongs to the day in which it began, a refund to the day on which it was given.
    What a rental cost is all its credits less all its refunded ones.
    """

    day: Annotated[str, WithJsonSchema({"type": "string", "format": "date"})]
    pod_id: str
    name: str
    gpu_model: str
    gpu_count: int
    minutes: int
    credits: int
    refunded_minutes: int
    refunded_credits: int

    examples = (
        {
            "day": "2026-05-25",
            "pod_id": "gpu-rent-1779745883-ab12cd",
            "name": "rent",
            "gpu_model": "rtx4090",
            "gpu_count": 1,
            "minutes": 130,
            "credits": 2166,
            "refunded_minutes": 0,
            "refunded_credits": 0,
        },
    )


def _day(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        raise refused("must be a day such as 2026-11-24")
    try:
        moment = datetime.fromisoformat(value).replace(tzinfo=UTC)
    except ValueError:
        raise refused("there is no such day") from None
    return int(moment.timestamp()) // _DAY_SECONDS


#: A UTC day in a query, as days since the epoch.
Day = Annotated[int, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]


class UsageQuery(PageQuery):
    """The parameters of `GET /usage`."""

    since: Day | None = None
    """The first UTC day."""
    until: Day | None = None
    """The last UTC day."""
