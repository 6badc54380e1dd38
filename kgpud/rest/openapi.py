"""The description of the API as OpenAPI 3.1, made from the table and the models that serve.

https://spec.openapis.org/oas/v3.1.1.html
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_origin

from kgpud.errors import Code
from kgpud.rest import possible, schemas
from kgpud.rest.auth import Access
from kgpud.rest.problems import STATUS, Problem, example
from kgpud.rest.route import PATH_PARAMETERS, Parameter, Route
from kgpud.rest.shapes.pages import Page
from kgpud.rest.shapes.streams import Stream

Json = dict[str, Any]

_PREFIX = "/v1"
_ACCOUNT, _POD = "accountToken", "inPodToken"
_SECURITY: dict[Access, list[Json]] = {
    Access.PUBLIC: [],
    Access.ACCOUNT: [{_ACCOUNT: []}],
    Access.MAINTAINER: [{_ACCOUNT: []}],
    Access.ANY_TOKEN: [{_ACCOUNT: []}, {_POD: []}],
    Access.OWN_POD: [{_ACCOUNT: []}, {_POD: []}],
}
_TAGS = {
    "gpu-models": "What can be rented now, and for how much.",
    "ssh-host-keys": "How to know the SSH bastion before the first connection.",
    "me": "The account behind a token.",
    "balance": "What is left of the credits.",
    "ledger": "Every change of your balance.",
    "usage": "What your rentals used, by day.",
    "cluster": "The machines behind the menu.",
    "admin": "What maintainers do: accounts, credits, everybody's rentals.",
    "pods": "Renting containers, using them, giving them back.",
    "objects": "Large data on its way to pods, without SSH.",
}
_SCHEMES = {
    _ACCOUNT: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "kgpu_…",
        "description": "The account's token, which may do everything that the account may.",
    },
    _POD: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "kgpu_pod_<id>.<sig>",
        "description": "The token inside a rented pod: it reads `/me`, reads and releases its own"
        " pod, and uses `/objects`, for as long as the rental lives.",
    },
}
_HEADERS = {
    "X-Request-ID": (
        "The id of this answer: quote it when you report a bug.",
        {"type": "string", "pattern": "^[0-9a-f]{16}$"},
    ),
    "Link": (
        'The next page, as `<URL>; rel="next"` (RFC 8288). Absent on the last one.',
        {"type": "string"},
    ),
    "Retry-After": ("After how many seconds to try again.", {"type": "integer", "minimum": 1}),
    "WWW-Authenticate": ("That a bearer token is asked for.", {"type": "string"}),
}

# Under which name an answer has what is a parameter of other paths.
_IDS = {"pod_id": "pod_id", "object_id": "object_id", "user": "user_id"}
_OF_STATUS = {401: ("WWW-Authenticate",), 429: ("Retry-After",)}


def describe(routes: Sequence[Route], *, api_base: str, version: str) -> Json:
    """Return the document for those of the routes that stand under ``/v1``."""
    described = [route for route in routes if route.path.startswith(_PREFIX)]
    paths: Json = {}
    for route in described:
        path = paths.setdefault(route.path.removeprefix(_PREFIX), {})
        path[route.method.lower()] = _operation(route, described)
    return {
        "openapi": "3.1.0",
        "info": _info(version, api_base),
        "servers": [{"url": api_base, "description": "This installation."}],
        "tags": [{"name": tag, "description": _TAGS[tag]} for tag in _tags(described)],
        "paths": paths,
        "components": {
            "securitySchemes": _SCHEMES,
            "headers": {
                name: {"description": about, "schema": schema}
                for name, (about, schema) in _HEADERS.items()
            },
            "schemas": schemas.described(described),
        },
    }


def _info(version: str, api_base: str) -> Json:
    root = api_base.removesuffix(_PREFIX)
    return {
        "title": "kgpud",
        "version": version,
        "summary": "GPU containers rented by the minute.",
        "description": "Rent a container with GPUs, run commands in it, give it back. The token to"
        f" send is on [your dashboard]({root}/); calls that are tried on a page are real, and"
        " billed. Every error is an `application/problem+json` with a stable `code`.",
        "contact": {"name": "This installation", "url": root},
        "license": {"name": "MIT", "identifier": "MIT"},
    }


def _tag(route: Route) -> str:
    return route.path.split("/")[2]


def _tags(routes: Iterable[Route]) -> list[str]:
    return list(dict.fromkeys(_tag(route) for route in routes))


def _operation(route: Route, routes: Sequence[Route]) -> Json:
    summary, _, rest = route.about.partition("\n\n")
    operation: Json = {
        "operationId": route.operation_id,
        "tags": [_tag(route)],
        "summary": " ".join(summary.split()).removesuffix("."),
        "description": rest or summary,
        "security": _SECURITY[route.access],
        "parameters": list(_parameters(route)),
        "responses": {"200": _success(route, routes), **_failures(route)},
    }
    if route.body:
        content: Json = {"schema": schemas.ref(route.body)}
        if route.body.examples:
            # The first is what a page with calls to try begins with.
            content["examples"] = {
                f"example-{number}": {"value": value}
                for number, value in enumerate(route.body.examples, 1)
            }
        needed = any(field.is_required() for field in route.body.model_fields.values())
        operation["requestBody"] = {"required": needed, "content": {"application/json": content}}
    return operation


def _parameters(route: Route) -> Iterator[Json]:
    for part in route.path.split("/"):
        if part.startswith("{"):
            yield _parameter(PATH_PARAMETERS[part.strip("{}")], "path")
    query = route.query.model_json_schema(schema_generator=schemas.Schemas)
    for name, schema in query.get("properties", {}).items():
        about = schema.pop("description")
        yield {"name": name, "in": "query", "description": about, "schema": _given(schema)}
    for header in route.headers:
        yield _parameter(header, "header")


def _given(schema: Json) -> Json:
    """Return what a parameter is when it is given: one that is left out is no null."""
    choices = schema.pop("anyOf", [])
    if schema.get("default", "") is None:
        del schema["default"]
    for choice in choices:
        if choice != {"type": "null"}:
            schema.update(choice)
    return schema


def _parameter(parameter: Parameter, where: str) -> Json:
    shown = {"example": parameter.example} if parameter.example else {}
    return {
        "name": parameter.name,
        "in": where,
        "description": parameter.about,
        "required": where == "path",
        "schema": {"type": "string", "pattern": f"^{parameter.pattern}$"},
        **shown,
    }


def _success(route: Route, routes: Sequence[Route]) -> Json:
    content: Json = {}
    headers = ["X-Request-ID"]
    for answer in route.answers:
        if issubclass(get_origin(answer) or answer, Stream):
            content[answer.media_type] = {"schema": {"type": "string"}}
        else:
            content["application/json"] = _content(answer)
        if get_origin(answer) is Page:
            headers.append("Link")
    links = _links(route, routes)
    return {
        "description": "Done.",
        "headers": _headers(headers),
        "content": content,
        **({"links": links} if links else {}),
    }


def _links(route: Route, routes: Sequence[Route]) -> Json:
    """Return what can be done next with what was just made, by the id in its answer."""
    fields = getattr(route.answer, "model_fields", {}) if route.method == "POST" else {}
    return {
        after.operation_id: {
            "operationId": after.operation_id,
            "parameters": {name: f"$response.body#/{field}"},
        }
        for name, field in _IDS.items()
        for after in routes
        if field in fields and f"{{{name}}}" in after.path and _tag(after) == _tag(route)
    }


def _content(answer: Any) -> Json:  # noqa: ANN401 - a type or a generic
    model = schemas.model(answer)
    assert model is not None
    if answer is model:
        shown: Json = {"example": model.examples[0]} if model.examples else {}
        return {"schema": schemas.ref(model), **shown}
    shown = {"example": list(model.examples)} if model.examples else {}
    return {"schema": {"type": "array", "items": schemas.ref(model)}, **shown}


def _failures(route: Route) -> Json:
    by_status: dict[int, list[Code]] = {}
    for code in possible.errors(route):
        by_status.setdefault(STATUS[code], []).append(code)
    return {str(status): _failure(status, by_status[status]) for status in sorted(by_status)}


def _failure(status: int, codes: list[Code]) -> Json:
    headers = ["X-Request-ID", *_OF_STATUS.get(status, ())]
    return {
        "description": ", ".join(f"`{code}`" for code in codes),
        "headers": _headers(headers),
        "content": {
            "application/problem+json": {
                "schema": schemas.ref(Problem),
                "examples": {str(code): {"value": example(code)} for code in codes},
            }
        },
    }


def _headers(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
