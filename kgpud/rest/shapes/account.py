"""The caller's own account."""

from kgpud.rest.shapes.base import Answer


class Quota(Answer):
    """How many GPUs an account may hold at once, and holds."""

    gpus: int
    gpus_used: int


class Me(Answer):
    """The account behind a token."""

    user_id: str
    email: str
    name: str
    role: str
    status: str
    credits: int
    quota: Quota


class Balance(Answer):
    """What is left, and until when at the present rate (null: nothing is being spent)."""

    credits: int
    burn_per_hour: int
    lasts_until: str | None
