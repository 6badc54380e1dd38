"""JSON Schemas of what crosses the wire, made from the models that check it."""

import inspect
from collections.abc import Iterable
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import (
    GenerateJsonSchema,
    JsonSchemaMode,
    JsonSchemaValue,
    models_json_schema,
)
from pydantic_core import core_schema

from kgpud.rest import docstrings
from kgpud.rest.problems import Problem
from kgpud.rest.route import Route
from kgpud.rest.shapes.base import Answer

_REF = "#/components/schemas/{model}"


class Schemas(GenerateJsonSchema):
    """JSON Schemas as we show them."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - pydantic's own
        """Leave out titles, which only repeat a field's name."""
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Describe a model's fields by their docstrings."""
        described = super().model_schema(schema)
        fields = described.get("properties", {})
        for name, about in docstrings.of(schema["cls"]).items():
            if name in fields:
                fields[name]["description"] = about
        return described


def model(answer: Any) -> type[Answer] | None:  # noqa: ANN401 - a type or a generic
    """Return the model of an answer, or of each of its lines."""
    inner = (*get_args(answer), answer)[0]
    return inner if inspect.isclass(inner) and issubclass(inner, Answer) else None


def ref(shape: type[BaseModel]) -> dict[str, str]:
    """Return a reference to a model's schema."""
    return {"$ref": _REF.format(model=shape.__name__)}


def described(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the schemas of all that the routes take and answer with, by their names."""
    models: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(Problem, "validation"): None}
    for route in routes:
        if route.body:
            models[route.body, "validation"] = None
        for answer in route.answers:
            if (shape := model(answer)) is not None:
                models[shape, "validation"] = None
    _, found = models_json_schema(list(models), ref_template=_REF, schema_generator=Schemas)
    return dict(sorted(found["$defs"].items()))
