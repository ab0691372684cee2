from __future__ import annotations

from collections.abc import Iterator

import pytest
from installation import Installation


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One running installation for the tests of a file."""
    one = Installation(home=tmp_path_factory.mktemp("home"))
    one.start()
    yield one
    one.stop()
