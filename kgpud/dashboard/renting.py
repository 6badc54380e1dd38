"""The form that rents a pod, and the same as a line of curl."""

import json
import shlex
from collections import defaultdict
from collections.abc import Mapping

from pydantic import ValidationError

from kgpud.dashboard.visit import Answer, Page, Redirect, Visit
from kgpud.errors import Code, UserError
from kgpud.rentals import RentRequest
from kgpud.rest.shapes.pods import Rent

_NUMBERS = ("gpu_count", "ephemeral_storage_gib")
_TEXTS = ("name", "image", "gpu_model", "cpu", "memory", "ssh_pubkey")


async def form(visit: Visit) -> Answer:
    """Show the form, filled with the defaults or with what the address says."""
    return _form(visit, visit.form, {})


async def rent(visit: Visit) -> Answer:
    """Rent what the form says; what is wrong with it is shown beside its field."""
    try:
        wanted = Rent.model_validate(_body(visit.form))
    except ValidationError as refused:
        errors = {str(error["loc"][0]): error["msg"] for error in refused.errors()}
        return _form(visit, visit.form, errors)
    request = RentRequest(
        name=wanted.name,
        image=wanted.image or visit.services.default_image,
        gpu_model=wanted.gpu_model,
        gpu_count=wanted.gpu_count,
        cpu=wanted.cpu,
        memory=wanted.memory,
        ephemeral_storage_gib=wanted.ephemeral_storage_gib,
        env=wanted.env,
        ssh_pubkey=wanted.ssh_pubkey,
    )
    try:
        rented = await visit.services.rentals.rent(visit.account.account_id, request)
    except UserError as refused:
        return _form(visit, visit.form, {refused.field or "": refused.message})
    if rented.private_key is None:
        return Redirect(f"/pods/{rented.rental.pod_id}")
    return Page("rented.html", {"rental": rented.rental, "private_key": rented.private_key})


def _form(visit: Visit, given: Mapping[str, str], errors: Mapping[str, str]) -> Page:
    menu = visit.services.catalog.menu()
    defaults = {name: field.default for name, field in Rent.model_fields.items()}
    defaults |= {"image": visit.services.default_image, "ssh_pubkey": "", "env": ""}
    if menu and defaults["gpu_model"] not in {line.gpu_model for line in menu if line.free}:
        free = [line.gpu_model for line in menu if line.free] or [menu[0].gpu_model]
        defaults["gpu_model"] = free[0]
    values = {name: given.get(name, str(default)) for name, default in defaults.items()}
    context = {
        "menu": menu,
        "values": values,
        "errors": defaultdict(str, errors),
        "curl": _curl(visit, values),
    }
    return Page("rent.html", context, 422 if errors else 200)


def _body(given: Mapping[str, str]) -> dict[str, object]:
    """Return a form as the body that `POST /v1/pods` takes."""
    body: dict[str, object] = {name: given[name].strip() for name in _TEXTS if given.get(name)}
    for name in _NUMBERS:
        if given.get(name):
            text = given[name].strip()
            body[name] = int(text) if text.isascii() and text.isdecimal() else text
    if given.get("env", "").strip():
        body["env"] = _env(given["env"])
    return body


def _env(text: str) -> dict[str, str]:
    """Read lines of NAME=value."""
    pairs = [line.partition("=") for line in text.splitlines() if line.strip()]
    if any(not equals for _name, equals, _value in pairs):
        raise UserError(Code.VALIDATION_FAILED, "one NAME=value a line", field="env")
    return {name.strip(): value for name, _equals, value in pairs}


def _curl(visit: Visit, values: Mapping[str, str]) -> str:
    """Return the call that does the same, the token left to the shell."""
    body = json.dumps(_body({**values, "env": ""}))
    return (
        f"curl -sS -X POST {visit.services.api_base}/pods"
        ' -H "Authorization: Bearer $KGPU_API_TOKEN" \\\n'
        f'  -H "Content-Type: application/json" \\\n  -d {shlex.quote(body)}'
    )
