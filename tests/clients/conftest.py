import hashlib

import pytest

from tests.e2e.conftest import bare, dev, key, pod
from tests.e2e.dev import Dev, Pod, output

from .shows import DEFAULT

__all__ = ["bare", "dev", "image", "key", "pod", "there"]


@pytest.fixture
def image(dev: Dev, request: pytest.FixtureRequest) -> Pod:
    """A pod of the image that `shows` names."""
    del dev  # begun here, it counts as nobody's leftover
    found = request.getfixturevalue("pod" if request.param == DEFAULT else "bare")
    assert isinstance(found, Pod)
    return found


@pytest.fixture
def there(image: Pod, request: pytest.FixtureRequest) -> str:
    """A folder in the pod of the test's own."""
    name = "/workspace/" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:8]
    output(image.argv(f"mkdir -p {name}"))
    return name
