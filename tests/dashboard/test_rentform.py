"""What the rent form says, as the API takes it."""

import pytest

from kgpud.catalog import GpuModel
from kgpud.dashboard import rentform
from kgpud.errors import UserError


def test_an_environment_has_a_variable_a_line() -> None:
    env = {"A": "1\N{LINE SEPARATOR}B=2", "C": " a = b "}
    assert rentform.body({"env": "A=1\N{LINE SEPARATOR}B=2\r\n\r\n C = a = b \r\nD="}) == {
        "env": {**env, "D": ""}
    }
    with pytest.raises(UserError):
        rentform.body({"env": "A=1\nB"})


def line(name: str, free: int) -> GpuModel:
    return GpuModel(name, "", 4, free, 600)


@pytest.mark.parametrize(
    ("menu", "given", "begun"),
    [
        ([line("v100", 4), line("rtx4090", 1)], None, "rtx4090"),
        ([line("v100", 4), line("rtx4090", 0)], None, "v100"),
        ([line("v100", 4), line("rtx4090", 0)], "rtx4090", "rtx4090"),
        ([line("v100", 4), line("rtx4090", 1)], "gtx1080", "rtx4090"),
        ([line("v100", 0)], "gtx1080", "v100"),
        ([], "gtx1080", "rtx4090"),
    ],
)
def test_it_begins_with_a_class_that_is_on_the_menu(
    menu: list[GpuModel], given: str | None, begun: str
) -> None:
    assert rentform.model(menu, given) == begun
