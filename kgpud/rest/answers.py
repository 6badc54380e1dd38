"""What users get: one model per JSON shape. Times are RFC 3339 UTC, credits are whole numbers."""

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """A JSON object that we send."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class About(Answer):
    """`GET /`."""

    service: str
    version: str
    about: str
    api_base: str


class GpuModel(Answer):
    """One line of the menu. `price_per_hour_credits` is for one GPU."""

    gpu_model: str
    total: int
    free: int
    price_per_hour_credits: int


class Node(Answer):
    """One machine of the fleet, counted in GPUs."""

    hostname: str
    gpu_model: str
    total: int
    busy: int
    free: int
    ready: bool
    cordoned: bool


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


class SshAccess(Answer):
    """How to ssh in. `fingerprint` is null once the rental has ended."""

    fingerprint: str | None
    ssh_host: str
    ssh_port: int
    ssh_user: str


class NewSshAccess(SshAccess):
    """The same right after a key was pinned; `private_key` only where we minted it, and once."""

    private_key: str | None = None


class SshHostKey(Answer):
    """A host key of the bastion. `known_hosts` is the line to trust it by.

    One that isn't `serving` yet is announced: it will take the other's place.
    """

    type: str
    public_key: str
    fingerprint: str
    known_hosts: str
    serving: bool


class Idle(Answer):
    """The idle clock. `release_at` is null while no release is due."""

    last_activity_at: str
    idle_seconds: int
    idle_warning: bool
    release_at: str | None


class Pod(Answer):
    """A rental, running or long gone."""

    pod_id: str
    name: str
    phase: str
    ready: bool
    pending_reason: str | None
    image: str
    gpu_model: str
    gpu_count: int
    cpu: str
    memory: str
    ephemeral_storage_gib: int
    price_per_hour_credits: int
    cost_credits: int
    node: str | None
    created_at: str
    started_at: str | None
    ready_at: str | None
    ended_at: str | None
    end_reason: str | None
    idle: Idle
    ssh_access: SshAccess


class Rented(Answer):
    """`POST /pods`. `balance_after_precheck` is the balance less one hour; nothing is held."""

    pod_id: str
    gpu_model: str
    price_per_hour_credits: int
    balance_after_precheck: int
    ssh_access: NewSshAccess


class Rotated(Answer):
    """`PATCH /pods/{id}`."""

    pod_id: str
    ssh_access: NewSshAccess


class Completed(Answer):
    """`POST /pods/{id}/exec`. Bytes that aren't UTF-8 become U+FFFD."""

    exit_code: int
    stdout: str
    stderr: str
    duration_ms: int
    truncated: bool
    timed_out: bool
