"""pytest plugin of the suite: a data folder of its own, set before Django reads its settings.

Named in ``addopts``, because pytest-django reads the settings before any ``conftest.py``: a test must never see, let
alone touch, the installation of whoever runs it.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

os.environ["FORESTALL_HOME"] = tempfile.mkdtemp(prefix="forestall-test-")
for name in ("FORESTALL_URL", "FORESTALL_TOKEN", "FORESTALL_AGENT_HOME", "FORESTALL_CONSOLE", "FORESTALL_INTAKE"):
    os.environ.pop(name, None)
Path(os.environ["FORESTALL_HOME"], "server", "static").mkdir(parents=True)


@pytest.fixture(autouse=True)
def quick_passwords(request: pytest.FixtureRequest) -> None:
    """Passwords of test persons are hashed fast: scrypt is slow by design, and Django tests it."""
    if "django_db_setup" in request.fixturenames or "db" in request.fixturenames:
        settings = request.getfixturevalue("settings")
        settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
