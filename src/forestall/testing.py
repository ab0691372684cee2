"""pytest plugin of the suite: a data folder of its own, set before Django reads its settings, and the database.

Named in ``addopts``, because pytest-django reads the settings before any ``conftest.py``: a test must never see, let
alone touch, the installation of whoever runs it.

``pytest --database postgresql`` runs what touches the database on a throw-away cluster that is shared by all workers,
each with a database of its own. There, a request of console or API runs with the console's role under row-level
security, as in an installation: the whole suite tests the second wall.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forestall.testing_cluster import Cluster, ClusterUnavailableError

CLUSTER = "PYTEST_FORESTALL_CLUSTER"
"""From the process that started the cluster to the workers of the same run: its address."""
SQLITE, POSTGRESQL = "sqlite", "postgresql"
TEST_DATABASE = "forestall"

os.environ["FORESTALL_HOME"] = tempfile.mkdtemp(prefix="forestall-test-")
# Profiles of whoever runs the suite are none of its business either.
os.environ["XDG_CONFIG_HOME"] = os.environ["FORESTALL_HOME"]
# Nothing is fetched from anybody's address, by no process that a test starts.
os.environ["FORESTALL_FEEDS"] = "off"
for name in (
    "FORESTALL_URL",
    "FORESTALL_TOKEN",
    "FORESTALL_PROFILE",
    "FORESTALL_AGENT_HOME",
    "FORESTALL_CONSOLE",
    "FORESTALL_INTAKE",
    "FORESTALL_DATABASE_URL",
    "FORESTALL_DATABASE_ROLES",
):
    os.environ.pop(name, None)
Path(os.environ["FORESTALL_HOME"], "server", "static").mkdir(parents=True)

_started: list[Cluster] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=(SQLITE, POSTGRESQL),
        default=SQLITE,
        help="what the tests run on; postgresql: only those that touch the database, on a cluster started for them",
    )


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    # Around pytest-django's own hook, which reads the settings.
    if early_config.known_args_namespace.database == POSTGRESQL:
        if "PYTEST_XDIST_WORKER" not in os.environ:
            try:
                cluster = Cluster()
            except ClusterUnavailableError as error:
                if os.geteuid() == 0:
                    raise pytest.UsageError(str(error)) from None
                pytest.exit(f"skipped: {error}", returncode=pytest.ExitCode.OK)
            _started.append(cluster)
            os.environ[CLUSTER] = cluster.url
        os.environ["FORESTALL_DATABASE_URL"] = os.environ[CLUSTER].replace("/postgres?", f"/{TEST_DATABASE}?")
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    result = yield
    if fixturedef.argname == "django_db_setup" and request.config.getoption("--database") == POSTGRESQL:
        with request.getfixturevalue("django_db_blocker").unblock():
            try:
                _build_walls()
            except Exception as error:  # noqa: BLE001
                # Without walls every test would pass, and mean nothing.
                pytest.exit(f"the walls could not be built: {error!r}", returncode=pytest.ExitCode.INTERNAL_ERROR)
    return result


def _build_walls() -> None:
    """Roles, grants and policies on this worker's database; from now on, requests run with the console's role."""
    from django.db import connection
    from psycopg import sql

    from forestall.server.database import binding
    from forestall.server.database.roles import Roles, roles_ensure, secure
    from forestall.server.database.url import DatabaseUrl
    from forestall.server.home import current_home

    named = DatabaseUrl.parse(os.environ["FORESTALL_DATABASE_URL"])
    url = replace(named, name=str(connection.settings_dict["NAME"]))
    roles: Roles = roles_ensure(url=url, home=current_home())
    connection.ensure_connection()
    raw = connection.connection
    secure(raw, roles=roles)
    # As an administrator may, so that a test's own connection can become the console in the middle of a transaction.
    raw.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(roles.console)))

    def switch(raw: Any, bound: binding.Bound) -> None:
        role = sql.SQL("NONE") if bound is binding.NOTHING else sql.Identifier(roles.console)
        raw.execute(sql.SQL("SET ROLE {}").format(role))

    binding.applied.append(switch)


def pytest_unconfigure(config: pytest.Config) -> None:
    while _started:
        _started.pop().stop()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") is not None and os.geteuid() != 0:
        pytest.skip("needs root")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    on_postgresql = config.getoption("--database") == POSTGRESQL
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        only = item.get_closest_marker("postgresql") is not None
        fixtures = set(getattr(item, "fixturenames", ()))
        database = bool(fixtures & {"db", "transactional_db", "django_db_setup"})
        database = database or item.get_closest_marker("django_db") is not None
        (kept if only == on_postgresql or (on_postgresql and database) else dropped).append(item)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


@pytest.fixture
def empty_database() -> Iterator[str]:
    """Address of an empty database of the tests' cluster, for an installation of its own. Gone after the test."""
    import psycopg
    from psycopg import sql

    name = f"forestall_{secrets.token_hex(4)}"
    with closing(psycopg.connect(os.environ[CLUSTER], autocommit=True)) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        try:
            yield os.environ[CLUSTER].replace("/postgres?", f"/{name}?")
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            for part in ("console", "intake", "worker"):
                admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(f"{name}_{part}")))


@pytest.fixture(autouse=True)
def quick_passwords(request: pytest.FixtureRequest) -> None:
    """Passwords of test persons are hashed fast: scrypt is slow by design, and Django tests it."""
    if "django_db_setup" in request.fixturenames or "db" in request.fixturenames:
        settings = request.getfixturevalue("settings")
        settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
