from collections.abc import Iterator

import pytest

from tests.e2e.dev import Pod

from .stack import Stack, stack


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A daemon and its cluster, with a chaos proxy and a liar between them."""
    with stack(tmp_path_factory.mktemp("lies")) as started:
        yield started


@pytest.fixture(scope="package")
def pod(world: Stack) -> Iterator[Pod]:
    rented = world.rent()
    yield rented
    rented.release()
