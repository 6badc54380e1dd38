"""The caller's own account."""

from kgpud.rest.shapes.base import Answer, Time
from store.records import AccountStatus, Role


class Quota(Answer):
    """How many GPUs an account may hold at once, and how many it holds."""

    gpus: int
    gpus_used: int


class Me(Answer):
    """The account behind a token."""

    user_id: str
    email: str
    name: str
    role: Role
    status: AccountStatus
    credits: int
    quota: Quota

    examples = (
        {
            "user_id": "acct_5f3c9a2b7d1e4806",
            "email": "ada@example.org",
            "name": "Ada",
            "role": "user",
            "status": "approved",
            "credits": 100000,
            "quota": {"gpus": 4, "gpus_used": 1},
        },
    )


class Balance(Answer):
    """What is left of the credits."""

    credits: int
    burn_per_hour: int
    """What all running rentals cost in an hour together."""
    lasts_until: Time | None
    """When the credits are used up at this rate; null: nothing is being spent."""

    examples = (
        {"credits": 99000, "burn_per_hour": 1000, "lasts_until": "2026-05-29T20:51:23.000Z"},
    )
