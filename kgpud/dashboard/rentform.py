"""The form that rents a pod, read as what `POST /v1/pods` takes, and the same as a line of curl."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence

from kgpud.catalog import GpuModel
from kgpud.errors import Code, UserError
from kgpud.rest.shapes.pods import Rent

# In the order of the form, which the page's script goes by.
_FIELDS = (
    *("gpu_model", "gpu_count", "name", "cpu", "memory", "ephemeral_storage_gib", "image"),
    *("ssh_pubkey", "env"),
)
_NUMBERS = ("gpu_count", "ephemeral_storage_gib")
_MODEL: str = Rent.model_fields["gpu_model"].default


def body(given: Mapping[str, str]) -> dict[str, object]:
    """Return the call's body. Raises UserError VALIDATION_FAILED."""
    wanted: dict[str, object] = {}
    for name in _FIELDS:
        text = given.get(name, "").strip()
        if not text:
            continue
        if name == "env":
            wanted[name] = _environment(text)
        elif name in _NUMBERS and re.fullmatch("[0-9]{1,9}", text):
            wanted[name] = int(text)
        else:
            wanted[name] = text
    return wanted


def model(menu: Sequence[GpuModel], given: str | None = None) -> str:
    """Return the class to begin with: the given one if it is on the menu, else one that is free.

    A form that began with none would rent the API's default, whatever that costs.
    """
    names = [line.gpu_model for line in menu]
    free = [line.gpu_model for line in menu if line.free]
    wishes = [*([given] if given in names else []), *([_MODEL] if _MODEL in free else [])]
    return next(iter([*wishes, *free, *names]), _MODEL)


def curl(api_base: str, given: Mapping[str, str]) -> str:
    """Return the call that does the same, the token left to the shell."""
    try:
        wanted = body(given)
    except UserError:
        wanted = body({**given, "env": ""})
    sent = json.dumps(wanted, indent=2, ensure_ascii=False)
    return (
        f"curl -sS -X POST \\\n  {api_base}/pods \\\n"
        '  -H "Authorization: Bearer $KGPU_API_TOKEN" \\\n'
        f'  -H "Content-Type: application/json" \\\n  -d {shlex.quote(sent)}'
    )


def _environment(text: str) -> dict[str, str]:
    """Read lines of NAME=value."""
    # Not splitlines: a value may hold what Unicode calls the end of a line.
    pairs = [line.partition("=") for line in re.split(r"\r?\n", text) if line.strip()]
    if any(not equals for _name, equals, _value in pairs):
        raise UserError(Code.VALIDATION_FAILED, "one NAME=value a line", field="env")
    return {name.strip(): value for name, _equals, value in pairs}
