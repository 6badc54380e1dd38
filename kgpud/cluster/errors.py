"""What can go wrong with the cluster. Texts never hold credentials."""


class ClusterError(Exception):
    """The cluster did not do what it was asked.

    `status` is HTTP's, 0 where there was none; `retry_after` is how many seconds it asked to wait.
    """

    retry_after = 0.0

    def __init__(self, message: str, *, status: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class Refused(ClusterError):
    """The API server said no: `reason` is its own word, e.g. ``Forbidden`` or ``AlreadyExists``."""


class Expired(Refused):
    """HTTP 410: the version to watch from is too old; list again."""


class Unreachable(ClusterError):
    """The API server did not answer, or said that it can't now.

    `maybe_done` tells whether the request may have taken effect all the same.
    """

    def __init__(
        self, message: str, *, maybe_done: bool, status: int = 0, retry_after: float = 0.0
    ) -> None:
        super().__init__(message, status=status, reason="Unreachable")
        self.maybe_done = maybe_done
        self.retry_after = retry_after


class NoCredentials(Unreachable):
    """There is no telling where the API server is or as whom to ask it: nothing was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, maybe_done=False)
