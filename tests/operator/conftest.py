from collections.abc import Iterator

import pytest

from .installing import Installed, installed


@pytest.fixture(scope="package")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """One prepared cluster for all tests that leave it as they found it."""
    with installed(tmp_path_factory.mktemp("operator")) as started:
        yield started
