"""Fixtures of the runbooks' stories, and a machine whose accounts a test writes."""

from __future__ import annotations

import pytest

from forestall.server.access.tests.house import House
from forestall.server.runbooks.tests.conftest import Office, office, operator_folder

__all__ = ["office", "operator_folder"]


@pytest.fixture
def house(office: Office) -> House:
    return House(office)
