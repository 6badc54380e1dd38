"""What rows become. Times are milliseconds since the epoch, money is whole credits."""

from dataclasses import dataclass, field
from typing import Literal

Role = Literal["user", "maintainer"]
AccountStatus = Literal["pending", "approved", "suspended", "deleted"]
LedgerKind = Literal["trial", "topup", "correction", "refund", "usage"]
ActionKind = Literal[
    "added",
    "approved",
    "suspended",
    "reinstated",
    "deleted",
    "changed",
    "credited",
    "token_issued",
    "token_revoked",
    "link_made",
    "released",
]
Phase = Literal["Pending", "Running", "Terminating", "Ended", "Failed"]
EventKind = Literal[
    "created",
    "scheduled",
    "pulling",
    "started",
    "ready",
    "idle_warning",
    "low_balance",
    "key_rotated",
    "session_opened",
    "session_closed",
    "ended",
]


@dataclass(frozen=True)
class Account:
    """Somebody who may rent: so many GPUs, and so many pods without one, at the same time.

    `balance` is the sum of the account's ledger lines.
    """

    account_id: str
    email: str
    name: str
    role: Role
    status: AccountStatus
    quota_gpus: int
    quota_cpu_pods: int
    balance: int
    created_at: int
    approved_at: int | None


@dataclass(frozen=True)
class Token:
    """An account token as it is kept: `hash` is SHA-256 of salt and token, never the token."""

    token_id: str
    account_id: str
    salt: bytes = field(repr=False)
    hash: bytes = field(repr=False)
    created_at: int
    revoked_at: int | None


@dataclass(frozen=True)
class Rental:
    """One rental: what was asked for, what the cluster said, what it cost so far.

    `price_per_hour` is per GPU and fixed at rent. `fingerprint` is the live key's, None once the
    rental ended. `finished_at` is when the container ended, `ended_at` when the rental's end was
    accepted (the bill stops at the earlier one), `gone_at` when the pod object was gone.
    `stepped_ms` is how far our clock was set since the rental was made, and
    `stepped_before_start_ms` how far of that before its container started; from its end until its
    pod is gone, `stepped_after_end_ms` counts instead.
    """

    pod_id: str
    account_id: str
    name: str
    image: str
    gpu_model: str
    gpu_count: int
    cpu: str
    memory: str
    ephemeral_storage_gib: int
    price_per_hour: int
    created_at: int
    last_activity_at: int
    create_acked_at: int | None = None
    started_at: int | None = None
    ready_at: int | None = None
    finished_at: int | None = None
    ended_at: int | None = None
    end_reason: str | None = None
    gone_at: int | None = None
    swept_at: int | None = None
    failed: bool = False
    ready: bool = False
    node: str | None = None
    pending_reason: str | None = None
    charged_minutes: int = 0
    cost: int = 0
    key_generation: int = 1
    stepped_ms: int = 0
    stepped_before_start_ms: int = 0
    stepped_after_end_ms: int = 0
    low_balance_minutes: int | None = None
    fingerprint: str | None = None

    @property
    def made_at(self) -> int:
        """When the rental was made, on the clock as it is set now."""
        return self.created_at + self.stepped_ms

    @property
    def ran_since(self) -> int | None:
        """When the container started, on the clock as it is set now: what its age is told from."""
        if self.started_at is None:
            return None
        return self.started_at + self.stepped_ms - self.stepped_before_start_ms

    @property
    def billed_gpus(self) -> int:
        """How many GPUs the rental pays for: a rental without GPUs pays for one."""
        return max(1, self.gpu_count)

    @property
    def rate_per_hour(self) -> int:
        """Credits per hour for the whole rental."""
        return self.price_per_hour * self.billed_gpus

    @property
    def phase(self) -> Phase:
        """The phase that users see, from what was recorded alone."""
        if self.gone_at is not None:
            return "Ended"
        if self.failed:
            return "Failed"
        if self.ended_at is not None:
            return "Terminating"
        return "Running" if self.started_at is not None else "Pending"


@dataclass(frozen=True)
class LedgerLine:
    """One change of a balance.

    A usage line covers the minutes of one rental that began in one UTC hour (`hour`, counted
    since the epoch) and grows until it has them all. `balance_after` is the balance when the line
    last changed, at `at`: what other lines did to it between this one's parts is in it, so it is
    not the sum of the lines up to this one. A refund's `minutes` are minutes taken back. `who`
    caused it.
    """

    id: int
    account_id: str
    at: int
    kind: LedgerKind
    amount: int
    balance_after: int
    pod_id: str | None
    hour: int | None
    minutes: int | None
    who: str
    note: str


@dataclass(frozen=True)
class Session:
    """One SSH channel: who came in, and how it ended; never what was said.

    `fingerprint` and `generation` are of the key that signed. `kind` is ``exec``, ``shell`` or
    ``subsystem``. `bytes_in` went to the pod, `bytes_out` came from it; both are None while the
    session is open and where its daemon died. `exit_status` is what the client was told, None if
    it was gone by then.
    """

    session_id: str
    pod_id: str
    generation: int
    fingerprint: str
    peer: str
    client: str
    kind: str
    opened_at: int
    closed_at: int | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    exit_status: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class SessionEnd:
    """How a session ended, as in Session."""

    session_id: str
    closed_at: int
    bytes_in: int | None
    bytes_out: int | None
    exit_status: int | None
    reason: str


@dataclass(frozen=True)
class RunningCommand:
    """A command of the REST API's that runs: its name in its pod, and its time limit."""

    name: str
    pod_id: str
    seconds: int


@dataclass(frozen=True)
class Action:
    """What a maintainer or operator did to an account, or to a rental of it (`pod_id`).

    `who` is as on the ledger. `detail` says what it changed: ``quota_gpus 4 -> 8``; it is "" where
    there is nothing to add.
    """

    id: int
    at: int
    who: str
    action: ActionKind
    account_id: str
    pod_id: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a rental. `seq` counts the rental's events from 1.

    `detail` is ``scheduled``'s node, ``pulling``'s image, ``idle_warning``'s and ``low_balance``'s
    minutes, ``key_rotated``'s fingerprint, a session's kind or why it closed, ``ended``'s reason.
    """

    pod_id: str
    seq: int
    at: int
    kind: EventKind
    detail: str
    session_id: str | None
