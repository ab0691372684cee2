"""The order of what a backup may be shown to be worth."""

from __future__ import annotations

import pytest

from forestall.trust.proofs import PROOF_LEVELS, at_least


@pytest.mark.parametrize(
    ("level", "wanted", "enough"),
    [("whole", "sample", True), ("sample", "sample", True), ("reported", "integrity", False)],
)
def test_a_level_proves_as_much_as_those_below_it(level, wanted, enough):
    assert at_least(level, wanted) == enough
    assert PROOF_LEVELS[0] == "reported"
