"""A data folder of its own for the whole test run, set before Django reads its settings."""

import os
import tempfile
from pathlib import Path

if not os.environ.get("FORESTALL_TEST_HOME"):
    os.environ["FORESTALL_TEST_HOME"] = tempfile.mkdtemp(prefix="forestall-test-")
os.environ["FORESTALL_HOME"] = os.environ["FORESTALL_TEST_HOME"]
Path(os.environ["FORESTALL_HOME"], "server").mkdir(parents=True, exist_ok=True)
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "forestall.server.settings")
