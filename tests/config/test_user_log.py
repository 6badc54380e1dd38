"""`kgpud user log`: what was done at a shell is on record."""

import asyncio
import json
from pathlib import Path

from .commands import POD, Kgpud, add_rental


def test_what_was_done_is_on_record(kgpud: Kgpud, state: Path) -> None:
    kgpud("user", "add", "ada@example.org")
    kgpud("user", "add", "bob@example.org", "--role", "maintainer")
    kgpud("user", "approve", "ada@example.org")
    secrets = [kgpud("user", word, "ada@example.org").output for word in ("token", "login-link")]
    asyncio.run(add_rental(state, "ada@example.org"))
    kgpud("pod", "release", POD)
    kgpud("user", "revoke", "ada@example.org")
    told = json.loads(kgpud("user", "log", "ada@example.org", "--json").output)
    assert [(one["action"], one["pod_id"], one["detail"]) for one in told] == [
        ("token_revoked", None, ""),
        ("released", POD, ""),
        ("link_made", None, ""),
        ("token_issued", None, ""),
        ("approved", None, "status pending -> approved, credits 0 -> 100000"),
        ("added", None, "role user"),
    ]
    assert all(one["who"].startswith("cli:") for one in told)
    everybody = kgpud("user", "log", "--limit", "6").output
    assert "bob@example.org" in everybody
    assert "role maintainer" in everybody
    assert not any(secret.strip().rpartition("/")[2] in everybody for secret in secrets)
    kgpud("user", "log", "nobody@example.org", ok=False)
    kgpud("db", "check")
