"""Fixtures of the runbooks' stories, and a ward on top of them."""

from __future__ import annotations

import pytest

from forestall.server.patching.tests.ward import Ward
from forestall.server.runbooks.tests.conftest import Office, office, operator_folder

__all__ = ["office", "operator_folder"]


@pytest.fixture
def ward(office: Office) -> Ward:
    return Ward(office)
