"""Renting a pod by a form."""

import hashlib
import json
import secrets
from collections import defaultdict
from collections.abc import Mapping

from pydantic import ValidationError

from kgpud.dashboard import rentform
from kgpud.dashboard.visit import Answer, Page, Redirect, Visit
from kgpud.errors import UserError
from kgpud.rentals import Rented
from kgpud.rest.handlers.pods import wish
from kgpud.rest.shapes.pods import Rent
from store.db import Connection


async def form(visit: Visit) -> Answer:
    """Show the form, filled with the defaults or with what the address says."""
    return _form(visit, visit.form, {})


async def rent(visit: Visit) -> Answer:
    """Rent what the form says; what is wrong with it is shown beside its field."""
    if visit.form.get("do") == "show":
        return _form(visit, visit.form, {})
    try:
        wanted = Rent.model_validate(rentform.body(visit.form))
        return await _rent(visit, wanted)
    except ValidationError as refused:
        errors = {str(error["loc"][0]): error["msg"] for error in refused.errors()}
    except UserError as refused:
        errors = {refused.field or "": refused.message}
    return _form(visit, visit.form, errors)


async def _rent(visit: Visit, wanted: Rent) -> Answer:
    """Rent once, however often the form is sent: by a double click, or again after a timeout."""
    account_id = visit.account.account_id
    asked = _digest(visit)
    async with visit.services.idempotency.once(account_id, f"page-{asked.hex()}", asked) as once:
        if once.answer is not None:
            return Redirect(f"/pods/{once.answer}")

        async def keep(tx: Connection, rented: Rented) -> None:
            await once.keep(tx, rented.rental.pod_id)

        request = wish(visit.services, wanted)
        rented = await visit.services.rentals.rent(account_id, request, keep)
    if rented.private_key is None:
        return Redirect(f"/pods/{rented.rental.pod_id}")
    return Page("minted.html", {"rental": rented.rental, "private_key": rented.private_key})


def _digest(visit: Visit) -> bytes:
    """Tell one form from another: `once` is new in each, and what was filled in may change."""
    return hashlib.sha256(json.dumps(sorted(visit.form.items())).encode()).digest()


def _form(visit: Visit, given: Mapping[str, str], errors: Mapping[str, str]) -> Page:
    menu = visit.services.catalog.menu()
    defaults = {name: field.default for name, field in Rent.model_fields.items()}
    defaults |= {"image": visit.services.default_image, "ssh_pubkey": "", "env": ""}
    values = {name: given.get(name, str(default)) for name, default in defaults.items()}
    values["gpu_model"] = rentform.model(menu, given.get("gpu_model"))
    context = {
        "menu": menu,
        "values": values,
        "errors": defaultdict(str, errors),
        "curl": rentform.curl(visit.services.api_base, values),
        "once": secrets.token_hex(16),
    }
    return Page("rent.html", context, 422 if errors else 200)
