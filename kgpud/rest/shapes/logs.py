"""Which part of a container's log is wanted."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

from kgpud.clock import parse_rfc3339
from kgpud.rest.shapes.base import WHOLE, Flag, Query, refused

_SECONDS = "[1-9][0-9]{0,8}"
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})"


def _since(value: str) -> str:
    try:
        if not re.fullmatch(_SECONDS, value):
            parse_rfc3339(value if re.fullmatch(_TIME, value) else "")
    except ValueError:
        raise refused(
            "must be a time such as 2026-11-23T09:10:11Z, or a number of seconds"
        ) from None
    return value


class LogQuery(Query):
    """The parameters of a log."""

    tail: Annotated[int, Field(ge=0, le=1_000_000), WHOLE] | None = None
    """Only so many lines at the end."""
    since: (
        Annotated[
            str,
            AfterValidator(_since),
            WithJsonSchema({"type": "string", "pattern": f"^({_SECONDS}|{_TIME})$"}),
        ]
        | None
    ) = None
    """Only what was written from then on: a time in RFC 3339, or how many seconds ago."""
    follow: Flag = False
    """Go on with what is written from now on, until the container ends."""

    def asked(self) -> dict[str, str]:
        """Return the parameters of the same name and meaning at the Kubernetes API."""
        asked = {} if self.tail is None else {"tailLines": str(self.tail)}
        if self.since is not None:
            asked["sinceSeconds" if self.since.isdigit() else "sinceTime"] = self.since
        return {**asked, "follow": "true"} if self.follow else asked
