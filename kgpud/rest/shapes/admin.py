"""What maintainers send and see."""

from typing import Annotated

from pydantic import Field

from kgpud.rest.shapes.base import Answer, Body, Flag, Time
from kgpud.rest.shapes.pages import PageQuery
from kgpud.rest.shapes.pods import Pod
from store.records import AccountStatus, ActionKind, LedgerKind, Phase, Role

_ADA = "ada@example.org"
_USER_ID = "acct_5f3c9a2b7d1e4806"

UserName = Annotated[str, Field(min_length=3, max_length=320)]
# What the service takes for one, as a pattern.
Email = Annotated[
    str,
    Field(min_length=3, max_length=320, json_schema_extra={"pattern": r"^[^\s@]+@[^\s@]+$"}),
]
Label = Annotated[str, Field(max_length=200)]
# SQLite's integers end at 2**63; a balance never comes near.
Credits = Annotated[int, Field(ge=-(10**12), le=10**12)]


class User(Answer):
    """An account."""

    user_id: str
    email: str
    name: str
    role: Role
    status: AccountStatus
    credits: int
    quota_gpus: int
    """How many GPUs it may hold at once."""
    quota_cpu_pods: int
    """How many pods without a GPU it may hold at once."""
    created_at: Time
    approved_at: Time | None
    """When it was approved first, and got its trial credits."""

    examples = (
        {
            "user_id": _USER_ID,
            "email": _ADA,
            "name": "Ada",
            "role": "user",
            "status": "approved",
            "credits": 100000,
            "quota_gpus": 4,
            "quota_cpu_pods": 4,
            "created_at": "2026-05-25T21:40:02.000Z",
            "approved_at": "2026-05-25T21:45:11.000Z",
        },
    )


class UserQuery(PageQuery):
    """The parameters of the list of accounts."""

    status: AccountStatus | None = None
    """Only accounts of this status."""


class NewUser(Body):
    """An account to make. It is pending until it is approved."""

    email: Email
    name: Label = ""
    """What people call them; left out, the e-mail address's first part."""
    role: Role = "user"

    examples = ({"email": _ADA, "name": "Ada"},)


class UserChange(Body):
    """What to change of an account; what is left out stays as it is."""

    quota_gpus: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """How many GPUs it may hold at once. What it rents already goes on above a smaller quota."""
    quota_cpu_pods: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """How many pods without a GPU it may hold at once."""
    role: Role | None = None

    examples = ({"quota_gpus": 8},)


class Suspension(Body):
    """How to suspend an account. An empty body will do."""

    may_be_empty = True

    release: bool = False
    """End its live rentals as well, `admin_released`; left out, they go on and are charged."""

    examples = ({}, {"release": True})


class CreditChange(Body):
    """Credits to give, or to take back."""

    amount: Credits
    """Whole credits; negative to take back. The balance never goes below 0."""
    note: Annotated[str, Field(min_length=1, max_length=500)]
    """Why, for the ledger."""

    examples = ({"amount": 1500, "note": "a dollar's worth"},)


class Credited(Answer):
    """The line of the ledger that came of it."""

    id: int
    at: Time
    kind: LedgerKind
    amount: int
    balance_after: int
    who: str
    note: str

    examples = (
        {
            "id": 42,
            "at": "2026-05-25T21:47:00.000Z",
            "kind": "topup",
            "amount": 1500,
            "balance_after": 101500,
            "who": "api:grace@example.org",
            "note": "a dollar's worth",
        },
    )


class NewToken(Answer):
    """A new token, shown this once."""

    user_id: str
    token: str

    examples = ({"user_id": _USER_ID, "token": "kgpu_xxxxxxxxxxxxx"},)


class TokenRevoked(Answer):
    """What became of an account's token."""

    user_id: str
    revoked: bool
    """False: it had none."""

    examples = ({"user_id": _USER_ID, "revoked": True},)


class AnyPod(Pod):
    """A rental, and whose it is."""

    user_id: str

    examples = ({**Pod.examples[0], "user_id": _USER_ID},)


class AnyPodQuery(PageQuery):
    """The parameters of the list of everybody's rentals."""

    user: UserName | None = None
    """Only this account's: an id or an e-mail address."""
    phase: Phase | None = None
    """Only rentals in this phase."""
    active: Flag | None = None
    """True: only rentals that have not ended; false: only those that have."""


class Action(Answer):
    """What a maintainer or operator did to an account, or to a rental of it."""

    id: int
    at: Time
    who: str
    """Who did it: `api:` or nothing before a maintainer's address, `cli:` before an operator's
    login name, `domain` before an address's domain that the configuration approves."""
    action: ActionKind
    user_id: str
    """Whom it was done to."""
    email: str
    pod_id: str | None
    """The rental that was `released`."""
    detail: str
    """What it changed, if there is more to say: each value before and after."""

    examples = (
        {
            "id": 7,
            "at": "2026-05-25T21:45:11.000Z",
            "who": "api:grace@example.org",
            "action": "approved",
            "user_id": _USER_ID,
            "email": _ADA,
            "pod_id": None,
            "detail": "status pending -> approved, credits 0 -> 100000",
        },
        {
            "id": 9,
            "at": "2026-05-25T23:10:40.000Z",
            "who": "cli:root",
            "action": "released",
            "user_id": _USER_ID,
            "email": _ADA,
            "pod_id": "gpu-rent-1779745883-ab12cd",
            "detail": "",
        },
    )


class ActionQuery(PageQuery):
    """The parameters of the list of what was done."""

    user: UserName | None = None
    """Only to this account or its rentals: an id or an e-mail address."""


class Session(Answer):
    """An SSH session, open or past."""

    session_id: str
    email: str
    pod_id: str
    peer: str
    """Where the client came from."""
    client: str
    """The client's own version line."""
    fingerprint: str
    key_generation: int
    """Which of the rental's keys it was, counted from 1."""
    kind: str
    opened_at: Time
    closed_at: Time | None
    bytes_in: int | None
    bytes_out: int | None
    exit_status: int | None
    reason: str | None

    examples = (
        {
            "session_id": "0f3b5c",
            "email": _ADA,
            "pod_id": "gpu-rent-1779745883-ab12cd",
            "peer": "203.0.113.7",
            "client": "OpenSSH_9.2p1",
            "fingerprint": "SHA256:abc123...",
            "key_generation": 1,
            "kind": "shell",
            "opened_at": "2026-05-25T21:52:00.000Z",
            "closed_at": None,
            "bytes_in": None,
            "bytes_out": None,
            "exit_status": None,
            "reason": None,
        },
    )


class SessionQuery(PageQuery):
    """The parameters of the list of sessions."""

    user: UserName | None = None
    """Only of this account: an id or an e-mail address."""
    pod_id: Annotated[str, Field(max_length=100)] | None = None
    """Only in this pod."""
    open: Flag = False
    """Only those that are still open."""
