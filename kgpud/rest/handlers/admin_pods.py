"""Everybody's rentals and SSH sessions, for maintainers."""

from kgpud.clock import rfc3339
from kgpud.reasons import ADMIN_RELEASED
from kgpud.rest.call import Call, Services
from kgpud.rest.handlers.pods import shown
from kgpud.rest.shapes.admin import AnyPod, AnyPodQuery, Session, SessionQuery
from kgpud.rest.shapes.pages import Page, page
from store import records
from store.rentals import Which


async def list_all_pods(call: Call[None, AnyPodQuery]) -> Page[AnyPod]:
    """List everybody's rentals, newest first, ended ones included."""
    query = call.query
    which = Which(
        account_id=await _account_id(call.services, query.user),
        phase=query.phase,
        active=query.active,
        before=query.cursor,
        limit=query.limit + 1,
    )
    return page(
        await call.services.rentals.list(which),
        query.limit,
        lambda rental: (rental.created_at, rental.pod_id),
        lambda rental: _any_pod(call.services, rental),
    )


async def get_any_pod(call: Call) -> AnyPod:
    """Show anybody's rental."""
    return _any_pod(call.services, await call.services.rentals.get(None, call.pod_id))


async def release_any_pod(call: Call) -> AnyPod:
    """End anybody's rental, `admin_released`; for an ended one, just show it."""
    rental = await call.services.rentals.release(None, call.pod_id, ADMIN_RELEASED)
    return _any_pod(call.services, rental)


async def list_sessions(call: Call[None, SessionQuery]) -> Page[Session]:
    """List SSH sessions, newest first: who, where, from where, how it ended."""
    query = call.query
    found = await call.services.audit.newest(
        query.limit + 1,
        pod_id=query.pod_id,
        account_id=await _account_id(call.services, query.user),
        only_open=query.open,
        before=query.cursor,
    )
    return page(found, query.limit, lambda one: (one[0].opened_at, one[0].session_id), _session)


async def _account_id(services: Services, user: str | None) -> str | None:
    return None if user is None else (await services.accounts.find(user)).account_id


def _any_pod(services: Services, rental: records.Rental) -> AnyPod:
    return AnyPod(**shown(services, rental).model_dump(), user_id=rental.account_id)


def _session(found: tuple[records.Session, str]) -> Session:
    session, email = found
    return Session(
        session_id=session.session_id,
        email=email,
        pod_id=session.pod_id,
        peer=session.peer,
        client=session.client,
        fingerprint=session.fingerprint,
        key_generation=session.generation,
        kind=session.kind,
        opened_at=rfc3339(session.opened_at),
        closed_at=None if session.closed_at is None else rfc3339(session.closed_at),
        bytes_in=session.bytes_in,
        bytes_out=session.bytes_out,
        exit_status=session.exit_status,
        reason=session.reason,
    )
