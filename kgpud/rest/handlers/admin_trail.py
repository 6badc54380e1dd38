"""The audit trail, for maintainers: who came in, and who did what to accounts and rentals."""

from kgpud.clock import rfc3339
from kgpud.rest.call import Call
from kgpud.rest.handlers.admin_pods import account_id
from kgpud.rest.shapes.admin import Action, ActionQuery, Session, SessionQuery
from kgpud.rest.shapes.pages import Page, page
from store import records


async def list_actions(call: Call[None, ActionQuery]) -> Page[Action]:
    """List what was done to accounts and rentals, newest first.

    That is what maintainers did here and on the dashboard, to their own accounts too, what
    operators did at a shell, and approvals by an address's domain. What was so already, and what
    failed, is not on it, nor what users do with their own. It is kept for ever.
    """
    query = call.query
    found = await call.services.audit.actions(
        query.limit + 1,
        account_id=await account_id(call.services, query.user),
        before=query.cursor[0] if query.cursor else None,
    )
    return page(found, query.limit, lambda one: (one[0].id, ""), _action)


async def list_sessions(call: Call[None, SessionQuery]) -> Page[Session]:
    """List SSH sessions, newest first: who, where, from where, how it ended."""
    query = call.query
    found = await call.services.audit.newest(
        query.limit + 1,
        pod_id=query.pod_id,
        account_id=await account_id(call.services, query.user),
        only_open=query.open,
        before=query.cursor,
    )
    return page(found, query.limit, lambda one: (one[0].opened_at, one[0].session_id), _session)


def _action(found: tuple[records.Action, str]) -> Action:
    done, email = found
    return Action(
        id=done.id,
        at=rfc3339(done.at),
        who=done.who,
        action=done.action,
        user_id=done.account_id,
        email=email,
        pod_id=done.pod_id,
        detail=done.detail,
    )


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
