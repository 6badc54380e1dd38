"""Everybody's rentals, for maintainers."""

from kgpud.rest.call import Call, Services
from kgpud.rest.handlers.pods import shown
from kgpud.rest.shapes.admin import AnyPod, AnyPodQuery
from kgpud.rest.shapes.pages import Page, page
from store import records
from store.rentals import Which


async def list_all_pods(call: Call[None, AnyPodQuery]) -> Page[AnyPod]:
    """List everybody's rentals, newest first, ended ones included."""
    query = call.query
    which = Which(
        account_id=await account_id(call.services, query.user),
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
    rental = await call.services.rentals.force_release(call.pod_id, call.who)
    return _any_pod(call.services, rental)


async def account_id(services: Services, user: str | None) -> str | None:
    """Return the id of the account that a list is narrowed to, None for all. NOT_FOUND."""
    return None if user is None else (await services.accounts.find(user)).account_id


def _any_pod(services: Services, rental: records.Rental) -> AnyPod:
    return AnyPod(**shown(services, rental).model_dump(), user_id=rental.account_id)
