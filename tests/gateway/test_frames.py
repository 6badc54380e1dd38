"""The exec sub-protocol: status documents, and anything at all instead of one."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import frames
from gateway.frames import Status, parse_status


def failed(reason: str = "NonZeroExitCode", **more: Any) -> str:
    return json.dumps({"status": "Failure", "reason": reason, **more})


def caused(*causes: Any) -> str:
    return failed(details={"causes": list(causes)})


@pytest.mark.parametrize(
    "document",
    [
        "",
        "{",
        "null",
        "[]",
        '"Success"',
        "{}",
        '{"status": null}',
        '{"status": "success"}',
        '{"status": []}',
        '{"status": {}}',
        "command terminated with non-zero exit code: exit code 5",  # v1's plain text
        failed(),
        failed(details=None),
        failed(details=[]),
        failed(details={"causes": None}),
        caused(),
        caused(None, 3, "ExitCode"),
        caused({"reason": "Other", "message": "3"}),
        caused({"reason": "ExitCode"}),
        caused({"reason": "ExitCode", "message": None}),
        caused({"reason": "ExitCode", "message": []}),
        caused({"reason": "ExitCode", "message": "three"}),
        caused({"reason": "ExitCode", "message": "9" * 5000}),
        caused({"reason": "ExitCode", "message": float("inf")}),
        caused({"reason": "ExitCode", "message": "256"}),  # modulo 256 it would be a success
        caused({"reason": "ExitCode", "message": "-1"}),
        caused({"reason": "ExitCode", "message": "0"}),
        "[" * 200_000,
        '{"status":' * 200_000,
    ],
)
def test_what_is_no_status_is_refused(document: str) -> None:
    with pytest.raises(ValueError):
        parse_status(document.encode())


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ('{"status": "Success"}', Status(0, "")),
        (failed("InternalError", message="no"), Status(None, "no")),
        (failed(None, message="no reason"), Status(None, "no reason")),  # type: ignore[arg-type]
        (caused(None, {"reason": "ExitCode", "message": "7"}), Status(7, "")),
    ],
)
def test_the_least_of_a_document_is_enough(document: str, status: Status) -> None:
    assert parse_status(document.encode()) == status


def test_a_message_can_be_sent_on_as_utf8() -> None:
    status = parse_status(b'{"status": "Failure", "message": "lone \\ud800 half"}')
    assert status.message.encode()


@given(st.binary(max_size=200))
def test_bytes_raise_nothing_but_value_errors(payload: bytes) -> None:
    with pytest.raises(ValueError):
        parse_status(payload)


words = st.sampled_from(
    ["status", "Success", "Failure", "reason", "NonZeroExitCode", "details", "causes", "ExitCode"]
)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | words
documents = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=5)
)


@given(
    st.fixed_dictionaries(
        {"status": st.sampled_from(["Success", "Failure"]) | documents},
        optional={
            "reason": st.just("NonZeroExitCode") | documents,
            "message": documents,
            "details": documents
            | st.fixed_dictionaries(
                {
                    "causes": st.lists(
                        st.fixed_dictionaries(
                            {"reason": st.just("ExitCode") | documents, "message": documents}
                        ),
                        max_size=3,
                    )
                }
            ),
        },
    )
)
def test_documents_of_any_shape_raise_nothing_but_value_errors(document: Any) -> None:
    try:
        status = parse_status(json.dumps(document).encode())
    except ValueError:
        return
    assert (status.exit_code == 0) == (document["status"] == "Success")
    assert status.exit_code is None or status.exit_code <= 255


@pytest.mark.parametrize(
    ("columns", "rows", "size"),
    [
        (80, 24, {"Width": 80, "Height": 24}),
        (1, 1, {"Width": 1, "Height": 1}),
        (70000, 2**32 - 1, {"Width": 65535, "Height": 65535}),
    ],
)
def test_a_resize_is_what_kubectl_sends(columns: int, rows: int, size: dict[str, int]) -> None:
    message = frames.resize(columns, rows)
    assert message[0] == frames.RESIZE
    assert json.loads(message[1:]) == size


def test_the_close_frame_names_stdin() -> None:
    assert list(frames.END_OF_STDIN) == [255, 0]
