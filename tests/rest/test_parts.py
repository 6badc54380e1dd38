"""Long bodies of many parts are refused before they are parsed; long texts are not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgpud.errors import Code, UserError
from kgpud.rest import parts

LONG = 300_000

HOSTILE = [
    pytest.param(b"[" + b"1," * LONG + b"1]", id="numbers"),
    pytest.param(b"[" + b"{}," * LONG + b"{}]", id="objects"),
    pytest.param(b"{" + b'"":1,' * LONG + b'"":1}', id="keys"),
    pytest.param(b'{"cmd": [' + b'"",' * LONG + b'""]}', id="texts"),
    pytest.param(b'{"stdin": "' + b"a" * LONG + b'", "' + b'", "' * LONG, id="texts behind one"),
    pytest.param(b'{"\\\\":1,' * LONG, id="backslashes before quotes"),
    pytest.param(b" " * LONG, id="space"),
]


@pytest.mark.parametrize("data", HOSTILE)
async def test_many_parts_are_refused(data: bytes) -> None:
    with pytest.raises(UserError) as caught:
        await parts.check(data)
    assert caught.value.code is Code.BODY_TOO_LARGE


TEXTS = [
    pytest.param("\1" * (1 << 20), id="escapes"),
    pytest.param('{"a":[1,"\\\\"]},' * 60_000, id="JSON"),
    pytest.param('"' * (1 << 20), id="quotes"),
    pytest.param("\\" * (1 << 20), id="backslashes"),
    pytest.param("1,2\n" * (1 << 18), id="a table"),
]


@pytest.mark.parametrize("stdin", TEXTS)
async def test_a_long_text_is_one_part_whatever_is_in_it(stdin: str) -> None:
    body = {"cmd": ["a" * 30] * 4000, "stdin": stdin, "timeout_seconds": 1}
    await parts.check(json.dumps(body, indent=8).encode())


@pytest.mark.parametrize("end", [b"", b"\\", b'\\"', b"\\\\", b"\\u00"])
async def test_a_text_that_does_not_end_is_left_to_the_parser(end: bytes) -> None:
    await parts.check(b'{"stdin": "' + b"\\n" * 100_000 + end)


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
async def test_short_bodies_pass_whatever_they_are(document: object) -> None:
    await parts.check(json.dumps(document).encode())
