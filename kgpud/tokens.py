"""Bearer tokens: account tokens, kept as salted hashes, and in-pod tokens, signed and not kept.

An account token is ``kgpu_`` + 10 characters of lookup id + 32 of secret + 6 of checksum. Its
secret has 190 bits of chance, so one round of SHA-256 is enough: there is nothing to guess.
"""

import base64
import contextlib
import hashlib
import hmac
import os
import secrets
import string
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from kgpud.accounts import check_living
from kgpud.clock import Clock
from kgpud.errors import Code, UserError
from kgpud.memo import Memo
from store import accounts, actions, rentals, tokens
from store.db import Database
from store.records import Account, Token

_ALPHABET = string.digits + string.ascii_letters
_PREFIX = "kgpu_"
_POD_PREFIX = "kgpu_pod_"
_ID, _SECRET, _SUM = 10, 32, 6
_KEY_BYTES = 32
_MOST_CALLERS = 4096


@dataclass(frozen=True)
class Caller:
    """Who a token speaks for. A pod's token speaks for its rental (`pod_id`) and little else."""

    account: Account
    scope: Literal["account", "pod"]
    pod_id: str | None

    @property
    def counted(self) -> str:
        """As whom it is held to limits: a pod is not its account."""
        return self.pod_id or self.account.account_id


class Tokens:
    """Issues and checks tokens. `secret` signs the in-pod tokens: 32 bytes that outlive us."""

    def __init__(self, db: Database, clock: Clock, *, secret: bytes) -> None:
        if len(secret) < _KEY_BYTES:
            raise ValueError("the signing secret is too short")
        self._db = db
        self._clock = clock
        self._secret = secret
        self._callers: Memo[Caller] = Memo(db.version, _MOST_CALLERS)

    async def issue(self, account_id: str, who: str | None = None) -> str:
        """Return a new account token, the only time it is seen; the old one dies with it.

        It goes on record if `who` asks for it is somebody else than the account's owner.
        Raises NOT_FOUND, or CONFLICT for an account that was deleted.
        """
        token_id, text = _mint()
        salt = os.urandom(16)
        now = self._clock.now_ms()
        async with self._db.transaction() as tx:
            account = await accounts.find(tx, account_id)
            if account is None:
                raise UserError(Code.NOT_FOUND, "there is no such account")
            check_living(account)
            token = Token(token_id, account_id, salt, _hash(salt, text), now, None)
            await tokens.replace(tx, token)
            if who is not None:
                await actions.add(tx, "token_issued", who, account_id, at=now)
        return text

    async def revoke(self, account_id: str, who: str) -> bool:
        """Revoke the account's token, on record as what `who` did; False if it has none."""
        now = self._clock.now_ms()
        async with self._db.transaction() as tx:
            revoked = await tokens.revoke(tx, account_id, now)
            if revoked:
                await actions.add(tx, "token_revoked", who, account_id, at=now)
        return revoked

    async def current(self, account_id: str) -> Token | None:
        """Return the account's live token as it is kept, None if it has none."""
        async with self._db.reading() as rx:
            return await tokens.live(rx, account_id)

    def pod_token(self, pod_id: str) -> str:
        """Return the in-pod token of a rental. It dies when the rental ends."""
        mac = hmac.new(self._secret, f"pod:{pod_id}".encode(), hashlib.sha256).digest()
        return f"{_POD_PREFIX}{pod_id}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"

    async def authenticate(self, bearer: str) -> Caller:
        """Return who a token speaks for.

        Raises UserError: INVALID_TOKEN, TOKEN_REVOKED, ACCOUNT_PENDING or ACCOUNT_SUSPENDED.
        """
        return await self._callers.find(_digest(bearer), partial(self._looked_up, bearer))

    async def _looked_up(self, bearer: str) -> Caller:
        if bearer.startswith(_POD_PREFIX):
            caller = await self._pod_caller(bearer)
        else:
            caller = await self._account_caller(bearer)
        if caller.account.status == "pending":
            raise UserError(Code.ACCOUNT_PENDING, "this account waits for a maintainer's approval")
        if caller.account.status == "deleted":
            raise UserError(Code.TOKEN_REVOKED, "this account was deleted: ask a maintainer")
        if caller.account.status == "suspended":
            raise UserError(Code.ACCOUNT_SUSPENDED, "this account is suspended: ask a maintainer")
        return caller

    async def _account_caller(self, bearer: str) -> Caller:
        if not _well_formed(bearer):
            raise UserError(
                Code.INVALID_TOKEN, "this token was misspelt or cut short: its checksum is wrong"
            )
        async with self._db.reading() as rx:
            found = await tokens.find(rx, bearer[len(_PREFIX) :][:_ID])
        if found is None:
            raise _invalid()
        token, account = found
        if not hmac.compare_digest(token.hash, _hash(token.salt, bearer)):
            raise _invalid()
        if token.revoked_at is not None:
            raise UserError(Code.TOKEN_REVOKED, "this token was revoked or replaced by a newer one")
        return Caller(account, "account", None)

    async def _pod_caller(self, bearer: str) -> Caller:
        pod_id = bearer[len(_POD_PREFIX) :].partition(".")[0]
        if not hmac.compare_digest(self.pod_token(pod_id).encode(), bearer.encode()):
            raise _invalid()
        async with self._db.reading() as rx:
            rental = await rentals.get(rx, pod_id)
            if rental is None:
                raise _invalid()
            account = await accounts.find(rx, rental.account_id)
        if account is None:
            raise _invalid()
        if rental.ended_at is not None:
            raise UserError(Code.TOKEN_REVOKED, "this token's rental has ended")
        return Caller(account, "pod", pod_id)


class SecretDamaged(Exception):
    """The file that keeps the installation's secret holds something else. The text says which."""


def load_or_create_secret(path: Path) -> bytes:
    """Return the 32 bytes kept at `path`, made there with mode 0600 on the first call.

    Raises SecretDamaged, OSError.
    """
    with contextlib.suppress(FileNotFoundError):
        return _read_secret(path)
    # Written aside and linked into place: two processes at once agree on the first one's.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    return _read_secret(path)


def _read_secret(path: Path) -> bytes:
    secret = path.read_bytes()
    if len(secret) != _KEY_BYTES:
        raise SecretDamaged(f"{path} does not hold {_KEY_BYTES} bytes: put it back from a backup")
    return secret


def _mint() -> tuple[str, str]:
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_ID + _SECRET))
    return body[:_ID], _PREFIX + body + _checksum(body)


def _well_formed(bearer: str) -> bool:
    body = bearer.removeprefix(_PREFIX)
    return (
        bearer.startswith(_PREFIX)
        and len(body) == _ID + _SECRET + _SUM
        and body.isascii()
        and body.isalnum()
        and _checksum(body[:-_SUM]) == body[-_SUM:]
    )


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(_SUM):
        number, digit = divmod(number, len(_ALPHABET))
        digits += _ALPHABET[digit]
    return digits


def _digest(bearer: str) -> bytes:
    # What is kept in memory is not the token itself.
    return hashlib.sha256(bearer.encode()).digest()


def _hash(salt: bytes, text: str) -> bytes:
    return hashlib.sha256(salt + text.encode()).digest()


def _invalid() -> UserError:
    return UserError(Code.INVALID_TOKEN, "this token is not known; the dashboard issues a new one")
