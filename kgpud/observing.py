"""What a pod's state means for its rental. Pure."""

from dataclasses import dataclass, replace

from kgpud import reasons
from kgpud.cluster.pods import PULLING, PodState
from store.records import EventKind, Rental


@dataclass(frozen=True)
class Observed:
    """A rental as it becomes. `end_reason` is set where the pod's state ends a live rental.

    `happened` are the events, kind and detail, that the rental's row alone doesn't tell of. `risen`
    says that the pod of an ended rental is there although it was deleted.
    """

    rental: Rental
    end_reason: str | None = None
    end_at: int = 0
    failed: bool = False
    gone: bool = False
    risen: bool = False
    happened: tuple[tuple[EventKind, str], ...] = ()


def observe(rental: Rental, pod: PodState, now: int) -> Observed:
    """Lay what was seen of a pod over its rental.

    The cluster's times are taken between the rental's creation and now, by our clock as it is set
    now (see clocksteps).

    An ended rental only learns that its pod is gone, or there again, and when its container
    finished if that was before the end. That it started before the end is not believed any more:
    who released a pod that was not known to run was told that it cost nothing, and that stays so.
    """
    gone = pod.deleted and rental.gone_at is None
    if rental.ended_at is not None:
        # A creation that was very slow, or a cluster that came from a backup.
        risen = rental.swept_at is not None and not (pod.deleting or pod.deleted)
        return Observed(_finished_before_end(rental, pod), gone=gone, risen=risen)
    seen = _laid_over(rental, pod, now)
    happened = _happened(rental, seen)
    if pod.failure is None and not pod.deleting and not pod.deleted:
        return Observed(seen, happened=happened)
    return Observed(
        seen,
        _why(pod.failure, ran=seen.started_at is not None),
        _ended_at(seen, pod, now),
        failed=pod.failure is not None,
        gone=gone,
        happened=happened,
    )


def _laid_over(rental: Rental, pod: PodState, now: int) -> Rental:
    """Return a live rental with what was seen of its pod.

    A pod that was seen is the answer to its creation, whatever became of that one's own.
    """
    if rental.started_at is None:
        started = _within(pod.started_at, rental.made_at, now)
        rental = replace(rental, started_at=started, stepped_before_start_ms=rental.stepped_ms)
    finished = rental.finished_at
    if finished is None and rental.ran_since is not None:
        finished = _within(pod.finished_at, rental.ran_since, now)
    return replace(
        rental,
        create_acked_at=now if rental.create_acked_at is None else rental.create_acked_at,
        finished_at=finished,
        ready=pod.ready,
        ready_at=now if pod.ready and rental.ready_at is None else rental.ready_at,
        node=pod.node or rental.node,
        pending_reason=None if rental.started_at is not None else pod.pending_reason,
    )


def _ended_at(rental: Rental, pod: PodState, now: int) -> int:
    """Return as of when a rental ended whose pod ends: a container's end counts first.

    Somebody else's deletion ends it when it was asked for, which may be long ago.
    """
    if rental.finished_at is not None:
        return rental.finished_at
    asked = _within(pod.deletion_asked_at, rental.made_at, now)
    return now if asked is None else asked


def _finished_before_end(rental: Rental, pod: PodState) -> Rental:
    """Take late news of a container that had finished when its rental's end was accepted.

    A container that finished once its deletion was asked for did so because of that, whatever our
    clock says: by the cluster's own clock a cluster that is behind us gives nothing away. Nor does
    a clock that was set back since: what seems to be before the end must be so by both settings.
    """
    finished = pod.finished_at
    if finished is None or rental.finished_at is not None:
        return rental
    if pod.deletion_asked_at is not None and finished >= pod.deletion_asked_at:
        return rental
    if rental.ran_since is None or rental.ended_at is None:
        return rental
    finished = max(rental.ran_since, finished)
    ended = rental.ended_at + min(0, rental.stepped_after_end_ms)
    return replace(rental, finished_at=finished) if finished < ended else rental


def _happened(before: Rental, now: Rental) -> tuple[tuple[EventKind, str], ...]:
    found: list[tuple[EventKind, str]] = []
    if before.node is None and now.node is not None:
        found.append(("scheduled", now.node))
    if now.pending_reason == PULLING != before.pending_reason:
        found.append(("pulling", now.image))
    return tuple(found)


def _why(failure: str | None, *, ran: bool) -> str:
    if failure is None:
        return reasons.POD_LOST
    if ran and failure.startswith(reasons.START_FAILED):
        # A kubelet that was restarted may refuse what it ran before.
        return reasons.EVICTED + failure.removeprefix(reasons.START_FAILED)
    return failure


def _within(moment: int | None, earliest: int, latest: int) -> int | None:
    return None if moment is None else max(earliest, min(moment, latest))
