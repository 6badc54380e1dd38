"""URLs of our own that carry their permission: what S3's presigned URLs are, for the folder store.

The signature covers the method, the object, the part, the number of bytes and the moment from
which the URL is dead. HMAC-SHA256 (RFC 2104), compared in constant time.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from kgpud.clock import Clock
from kgpud.errors import Code, UserError
from kgpud.objects.stores import Slot

#: Where the folder store's URLs lead, below the API's host.
PATH = "/transit/{object_id}"
_PURPOSE = b"kgpud transit URLs"


@dataclass(frozen=True)
class Grant:
    """What a URL allows. `size` is the exact number of bytes; the rest names a part."""

    key: str
    size: int | None = None
    upload_id: str | None = None
    slot: Slot | None = None


class Signer:
    """Makes and checks URLs. `secret` is the installation's; `root` the API's, without a path."""

    def __init__(self, secret: bytes, root: str, clock: Clock) -> None:
        self._key = hmac.digest(secret, _PURPOSE, hashlib.sha256)
        self._root = root
        self._clock = clock

    def url(self, method: str, grant: Grant, seconds: int) -> str:
        """Return a URL for GET (with HEAD) or PUT, good for so many seconds."""
        fields = {"expires": str(self._clock.now_ms() // 1000 + seconds)}
        if grant.size is not None:
            fields["size"] = str(grant.size)
        if grant.slot is not None and grant.upload_id is not None:
            fields["upload"] = grant.upload_id
            fields["part"] = str(grant.slot.number)
            fields["offset"] = str(grant.slot.offset)
        fields["signature"] = self._sign(method, grant.key, fields)
        return f"{self._root}{PATH.format(object_id=grant.key)}?{urlencode(fields)}"

    def check(self, method: str, key: str, query: Mapping[str, str]) -> Grant:
        """Return what a URL allows. Raises URL_REFUSED for a changed one, URL_EXPIRED."""
        fields = {name: value for name, value in query.items() if name != "signature"}
        asked = "GET" if method == "HEAD" else method
        signature = query.get("signature", "").encode(errors="replace")
        if not hmac.compare_digest(signature, self._sign(asked, key, fields).encode()):
            raise UserError(
                Code.URL_REFUSED,
                "this URL was not signed for this; use it as it was given, with its own method",
            )
        if self._clock.now_ms() >= int(fields["expires"]) * 1000:
            raise UserError(Code.URL_EXPIRED, "this URL is no longer good; ask for a fresh one")
        return _grant(key, fields)

    def _sign(self, method: str, key: str, fields: Mapping[str, str]) -> str:
        # Encoded, so that no value can pass for another field; sorted, since order means nothing.
        signed = f"{method} {key}?{urlencode(sorted(fields.items()), errors='replace')}"
        mac = hmac.digest(self._key, signed.encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(mac).decode().rstrip("=")


def _grant(key: str, fields: Mapping[str, str]) -> Grant:
    size = int(fields["size"]) if "size" in fields else None
    if "part" not in fields or size is None:
        return Grant(key, size)
    slot = Slot(int(fields["part"]), int(fields["offset"]), size)
    return Grant(key, size, fields["upload"], slot)
