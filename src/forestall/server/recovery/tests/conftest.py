"""Fixtures of the runbooks' stories, and a vault of backups on top of them."""

from __future__ import annotations

import pytest

from forestall.server.recovery.tests.vault import Vault
from forestall.server.runbooks.tests.conftest import Office, office, operator_folder

__all__ = ["office", "operator_folder"]


@pytest.fixture
def vault(office: Office) -> Vault:
    return Vault(office)
