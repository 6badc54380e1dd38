"""The description of the API: valid, complete, and what really serves.

That every answer of every other test in this folder fits it is `client.check_described`'s work.
"""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from kgpud.rest.problems import STATUS
from kgpud.rest.route import Route
from kgpud.rest.routes import ROUTES
from kgpud.rest.shapes.base import Body

from .document import DOCUMENT
from .platform import Platform

V1 = [route for route in ROUTES if route.path.startswith("/v1")]


def operations() -> Iterator[dict[str, Any]]:
    for path in DOCUMENT["paths"].values():
        yield from path.values()


async def test_it_is_served_at_both_places_as_this_installation(platform: Platform) -> None:
    for path in ("/openapi.json", "/v1/openapi.json"):
        reply = await platform.api.call("GET", path)
        assert reply.status == 200
        assert reply.body["openapi"].startswith("3.1.")
        assert reply.body["servers"][0]["url"] == f"{platform.api.root}/v1"
        assert reply.body["paths"] == DOCUMENT["paths"]


def test_it_is_valid() -> None:
    assert list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()) == []


def test_every_route_is_in_it_under_a_name_of_its_own() -> None:
    named = [operation["operationId"] for operation in operations()]
    assert sorted(named) == sorted({route.operation_id for route in V1})
    assert len(named) == len(V1)


def test_every_answer_has_the_request_id() -> None:
    for operation in operations():
        for status, answer in operation["responses"].items():
            assert "X-Request-ID" in answer["headers"], (operation["operationId"], status)


def test_every_code_of_ours_is_possible_somewhere() -> None:
    described = {
        code
        for operation in operations()
        for answer in operation["responses"].values()
        for content in answer["content"].values()
        for code in content.get("examples", ())
    }
    # The folder store's URLs are a store's, as S3's are: no part of the API.
    of_urls = {"url_refused", "url_expired", "length_required", "upload_stalled"}
    of_pages = {"sign_in_failed"}
    assert set(STATUS) - described == {"method_not_allowed", *of_urls, *of_pages}


@pytest.mark.parametrize("route", V1, ids=lambda route: route.operation_id)
def test_every_json_has_an_example(route: Route) -> None:
    operation = DOCUMENT["paths"][route.path.removeprefix("/v1")][route.method.lower()]
    contents = [operation["responses"]["200"]["content"]]
    contents += [operation["requestBody"]["content"]] if "requestBody" in operation else []
    for content in contents:
        if "application/json" in content:
            json_content = content["application/json"]
            schema = {**json_content["schema"], "components": DOCUMENT["components"]}
            examples = [one["value"] for one in json_content.get("examples", {}).values()]
            for example in examples or [json_content["example"]]:
                jsonschema.validate(example, schema, jsonschema.Draft202012Validator)


@pytest.mark.parametrize("body", sorted({r.body for r in V1 if r.body}, key=str))
def test_null_is_said_to_be_as_good_as_nothing(body: type[Body]) -> None:
    optional = {name for name, field in body.model_fields.items() if not field.is_required()}
    for example in body.examples or ({},):
        nulls = {**example, **dict.fromkeys(optional)}
        schema = {"$ref": f"#/components/schemas/{body.__name__}"}
        schema |= {"components": DOCUMENT["components"]}
        jsonschema.validate(nulls, schema, jsonschema.Draft202012Validator)
        body.model_validate(nulls)


def test_every_field_and_parameter_that_has_limits_tells_them() -> None:
    sent = DOCUMENT["components"]["schemas"]["Rent"]["properties"]
    assert (sent["gpu_count"]["minimum"], sent["gpu_count"]["maximum"]) == (0, 4)
    assert sent["gpu_count"]["default"] == 1
    assert sent["env"]["type"] == ["object", "null"]
    assert json.dumps(DOCUMENT).count('"additionalProperties": false') > 10
