"""Fixtures of the runbooks' stories, and a machine whose configuration a test writes."""

from __future__ import annotations

import pytest

from forestall.server.configuration.tests.workshop import Workshop
from forestall.server.runbooks.tests.conftest import Office, office, operator_folder

__all__ = ["office", "operator_folder"]


@pytest.fixture
def workshop(office: Office) -> Workshop:
    return Workshop(office)
