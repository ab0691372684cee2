"""The address of the database: what it may look like, and that no error repeats a password."""

from __future__ import annotations

from pathlib import Path

import pytest

from forestall.server.database.url import (
    DatabaseUrl,
    DatabaseUrlError,
    database_settings,
    database_url,
    part_environment,
)
from forestall.server.home import Home, write_private

SECRET = "s3cr3t/with#signs@and:more"


def test_host_port_user_password_and_name() -> None:
    url = DatabaseUrl.parse("postgresql://ada:p%40ss@db.example:5433/forestall?sslmode=verify-full")
    assert (url.user, url.password, url.host, url.port, url.name) == ("ada", "p@ss", "db.example", "5433", "forestall")
    settings = url.settings()
    assert settings["ENGINE"] == "django.db.backends.postgresql"
    assert settings["OPTIONS"]["sslmode"] == "verify-full"
    assert settings["CONN_HEALTH_CHECKS"]


def test_a_socket_folder_as_host() -> None:
    url = DatabaseUrl.parse("postgresql://ada@/forestall?host=/run/postgresql&port=5433")
    assert (url.host, url.port, url.user) == ("/run/postgresql", "5433", "ada")


def test_what_is_written_out_reads_back_the_same() -> None:
    url = DatabaseUrl(
        name="for stall", host="/run/pg", port="1", user="a da", password=SECRET, options=(("sslmode", "require"),)
    )
    assert DatabaseUrl.parse(url.secret) == url
    assert SECRET not in str(url)
    assert SECRET not in repr(url)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("mysql://u:secret@h/f", "'mysql' is not a scheme"),
        (f"{SECRET}", "is not a scheme"),
        ("postgresql://u:sec/ret@h/f", "port"),
        ("postgresql://u:secret@h:99999/f", "port"),
        ("postgresql://u:secret@h:none/f", "port"),
        ("postgresql://u:secret@h/", "not the name of a database"),
        ("postgresql://u:secret@h/a/b", "not the name of a database"),
        ("postgresql://u:secret@h/f?password=secret", "'password' is not an option"),
        ("postgresql://u:secret@h/f?port=0", "port '0'"),
        ("postgresql://u:secret@[::1/f", "no address"),
        (f"postgresql://u:secret@h/{'n' * 64}", "64 bytes, at most 63"),
        ("postgresql://u@h/f#secret", "write # in a password as %23"),
    ],
)
def test_a_wrong_address_is_named_with_its_fault_and_without_its_password(address: str, why: str) -> None:
    with pytest.raises(DatabaseUrlError, match="FORESTALL_DATABASE_URL") as caught:
        DatabaseUrl.parse(address)
    assert why in str(caught.value)
    for word in (SECRET, "sec/ret", "ret@", "=secret", ":secret", "#secret"):
        assert word not in str(caught.value)


def test_the_variable_goes_before_the_file_and_neither_means_sqlite(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert database_url(home, {}) is None
    assert database_settings(home, {})["ENGINE"].endswith("sqlite3")
    write_private(home.database_url, b"postgresql://ada@/moved\n")
    assert database_url(home, {}).name == "moved"
    assert database_url(home, {"FORESTALL_DATABASE_URL": "postgresql://ada@/named"}).name == "named"
    write_private(home.database_url, b"nonsense")
    with pytest.raises(DatabaseUrlError, match=r"database\.url"):
        database_url(home, {})


def test_a_part_gets_its_own_role_and_never_the_owners_password(tmp_path: Path) -> None:
    home = Home(tmp_path)
    owner = {"FORESTALL_DATABASE_URL": f"postgresql://owner:{'o' * 8}@/forestall?host=/s", "PATH": "/bin"}
    write_private(home.database_roles, b'{"forestall_intake": "i i"}')
    intake = part_environment(home, "intake", owner)
    assert DatabaseUrl.parse(intake["FORESTALL_DATABASE_URL"]).user == "forestall_intake"
    assert DatabaseUrl.parse(intake["FORESTALL_DATABASE_URL"]).password == "i i"
    assert "o" * 8 not in str(intake)
    assert part_environment(home, "agent", owner) == {"PATH": "/bin"}
    assert part_environment(home, "worker", {**owner, "FORESTALL_DATABASE_ROLES": "none"})[
        "FORESTALL_DATABASE_URL"
    ].startswith("postgresql://owner:")


def test_roles_of_a_long_database_name_fit() -> None:
    url = DatabaseUrl(name="n" * 63)
    assert len({len(url.role(part)) for part in ("console", "intake", "worker")} | {63}) == 1
