"""Recorded outputs of real machines are parsed to their expected values; the figures are bench/recordings.py's."""

from __future__ import annotations

import pytest
from bench.recordings import CASES, SHARED, judge, smart_json

pytestmark = pytest.mark.skipif(not (SHARED / "smart").is_dir(), reason="the recordings are not here")

NAMED = ("sata_ssd_1_issue_72",)
"""Recordings whose source expects something else, with the reason in the bench."""


@pytest.mark.parametrize(
    "cases", [each for each in CASES if each.__name__ in ("smart_json", "smart_text", "raid", "antivirus")]
)
def test_every_recording_has_its_expected_values(cases):
    wrong = {str(case.files[0]): why for case in cases(SHARED) if (why := judge(case))}
    assert [place for place in wrong if not any(name in place for name in NAMED)] == [], wrong


def test_a_wrong_value_is_seen():
    case = next(smart_json(SHARED))
    assert judge(case) == ""
    from dataclasses import replace

    assert judge(replace(case, kind="zpool"))
    assert judge(replace(case, kind="")) == "no capture reads this"
    assert "expected" in judge(
        replace(case, expected=lambda document: [f"size: 1, expected {document.disks[0].size_bytes}"])
    )
