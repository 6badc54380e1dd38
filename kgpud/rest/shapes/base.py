"""What every body, query and answer is."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetJsonSchemaHandler,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError


def refused(message: str) -> PydanticCustomError:
    """Return the error for a validator to raise whose message is exactly this."""
    return PydanticCustomError("refused", "{message}", {"message": message})


class Answer(BaseModel):
    """A JSON object that we send. Times are RFC 3339 UTC, credits are whole numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: What one looks like, for the API's description; a list shows all of them.
    examples: ClassVar[Sequence[Mapping[str, Any]]] = ()


class Body(BaseModel):
    """A JSON object that we are sent: nothing but the fields named in it.

    Strict: ``"2"`` is no integer and ``true`` is none either. A field that is null counts as
    left out.
    """

    # `hide_input_in_errors`: a pasted private key must not end up in an exception's text.
    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
    )

    #: The most bytes of JSON that are read.
    body_limit: ClassVar[int] = 1 << 20
    #: Whether nothing, announced as JSON, is as good as ``{}``. Not where that costs something:
    #: it is what `-d "$(jq …)"` sends when jq fails.
    may_be_empty: ClassVar[bool] = False
    #: What one looks like, for the API's description.
    examples: ClassVar[Sequence[Mapping[str, Any]]] = ()

    @model_validator(mode="before")
    @classmethod
    def _null_is_the_default(cls, data: Any) -> Any:  # noqa: ANN401 - whatever JSON held
        if not isinstance(data, Mapping):
            return data
        return {k: v for k, v in data.items() if v is not None or k not in cls.model_fields}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe the model, with null as one more way to leave a field out."""
        described = handler(core_schema)
        fields = handler.resolve_ref_schema(described).get("properties", {})
        for name, field in fields.items():
            if not cls.model_fields[name].is_required() and "type" in field:
                field["type"] = [field["type"], "null"]
                if "enum" in field:
                    field["enum"] = [*field["enum"], None]
        return described


class Query(BaseModel):
    """What may follow the ``?``: nothing but the parameters named here, each at most once."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _whole(value: object) -> object:
    # pydantic alone would take " 1 ", "1_0" and "1.0" as well.
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,18}", value):
        raise refused("must be a whole number")
    return value


def _flag(value: object) -> object:
    if isinstance(value, str):
        if value not in ("true", "false"):
            raise refused("must be true or false")
        return value == "true"
    return value


#: For a number in a query: a whole one.
WHOLE = BeforeValidator(_whole)
#: ``true`` or ``false`` in a query.
Flag = Annotated[bool, BeforeValidator(_flag)]
#: A moment in an answer, as RFC 3339 UTC.
Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
