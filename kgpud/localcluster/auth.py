"""Who a request comes from: bearer tokens, the token file, service accounts, impersonation."""

import csv
import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kgpud.localcluster.errors import ApiError, StartError

_FEWEST_COLUMNS = 3
_GROUPS_COLUMN = 3
MASTERS = "system:masters"


@dataclass(frozen=True)
class User:
    """A name and its groups, as RBAC knows them."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
ADMIN = User("kubernetes-admin", (MASTERS, "system:authenticated"))


def service_account(namespace: str, name: str, uid: str) -> User:
    """Return the user that a service account's token stands for."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    full = f"system:serviceaccount:{namespace}:{name}"
    return User(full, (*groups, "system:authenticated"), uid)


class Tokens:
    """Bearer tokens by their digest, so that neither memory nor timing gives one away."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[User, float | None]] = {}

    def add(self, token: str, user: User, seconds: float | None = None) -> None:
        """Let `token` stand for `user`, for ever or for some seconds."""
        now = time.monotonic()
        self._known = {
            digest: (known, until)
            for digest, (known, until) in self._known.items()
            if until is None or until > now
        }
        self._known[_digest(token)] = (user, None if seconds is None else now + seconds)

    def issue(self, user: User, seconds: float) -> str:
        """Return a new token for a user that holds for some seconds."""
        token = secrets.token_urlsafe(32)
        self.add(token, user, seconds)
        return token

    def user(self, authorization: str | None) -> User:
        """Return the user of an Authorization header. ApiError 401 for an unknown token."""
        scheme, _space, token = (authorization or "").strip().partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return ANONYMOUS
        user, until = self._known.get(_digest(token.strip()), (None, None))
        if user is None or (until is not None and until <= time.monotonic()):
            raise ApiError(401, "Unauthorized", "Unauthorized")
        return user


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()


def read_token_file(path: Path, tokens: Tokens) -> None:
    """Add the lines of a static token file (`token,user,uid,"group1,group2"`).

    The form is kube-apiserver's --token-auth-file. StartError names a line that is wrong.
    """
    try:
        lines = list(csv.reader(path.read_text().splitlines(), skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StartError(f"--token-auth-file {path}: {' '.join(str(error).split())}") from None
    for number, columns in enumerate(lines, 1):
        if not columns:
            continue
        if len(columns) < _FEWEST_COLUMNS or not columns[0] or not columns[1]:
            wanted = 'token,user,uid,"group1,group2" is wanted'
            raise StartError(f"--token-auth-file {path}: line {number}: {wanted}")
        token, name, uid = columns[:_FEWEST_COLUMNS]
        listed = columns[_GROUPS_COLUMN] if len(columns) > _GROUPS_COLUMN else ""
        groups = tuple(group.strip() for group in listed.split(",") if group.strip())
        tokens.add(token, User(name, (*groups, "system:authenticated"), uid))


def impersonated(headers: Mapping[str, str], groups: list[str]) -> User | None:
    """Return whom Impersonate-User and Impersonate-Group ask to be, None without the first."""
    name = headers.get("Impersonate-User")
    if not name:
        if groups:
            said = "requested []authorization.ImpersonateGroup without impersonating a user"
            raise ApiError(500, "InternalError", f"Internal error occurred: {said}")
        return None
    everybody = () if "system:unauthenticated" in groups else ("system:authenticated",)
    return User(name, (*groups, *everybody))
