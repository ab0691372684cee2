"""The second wall, tried with raw SQL by each role over a connection of its own, on every table there is.

Acme has a shop and a mill; Bolt is another client. Whoever is bound to one of these places finds nothing of the
others, and can neither change nor add anything there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.apps import apps
from django.db import connection, models
from psycopg import sql

from forestall.server.database.binding import _SET, EVERYWHERE, NOTHING, Bound
from forestall.server.database.roles import CONSOLE, INTAKE, WORKER, Roles, RolesError, connect, roles_ensure, secure
from forestall.server.database.tests.rows import Place, Planter, belongs, has_site, insert
from forestall.server.database.url import DatabaseUrl, part_passwords
from forestall.server.database.walls import WallError, scoped_models, wall_of
from forestall.server.home import Home, current_home
from forestall.server.people.models import Client, Site

pytestmark = pytest.mark.postgresql


@dataclass
class World:
    url: DatabaseUrl
    roles: Roles
    shop: Place
    mill: Place
    ward: Place
    planter: Planter

    @contextmanager
    def as_role(self, role: str, bound: Bound = NOTHING) -> Iterator[psycopg.Connection[Any]]:
        """A login of a role, with a place bound."""
        with closing(connect(self.url.as_user(role, part_passwords(current_home())[role]))) as raw:
            raw.execute(_SET, (bound.everywhere, bound.clients, bound.sites, bound.site_clients))
            yield raw

    def as_console(self, bound: Bound = NOTHING):
        return self.as_role(self.roles.console, bound)


def whole(place: Place) -> Bound:
    return Bound("off", str(place.client), "", "")


def one_site(place: Place) -> Bound:
    return Bound("off", "", str(place.site), str(place.client))


@pytest.fixture(scope="module")
def world(django_db_setup, django_db_blocker) -> Iterator[World]:
    """A copy of the tests' database with a row at each place in every table."""
    name = f"walls_{uuid4().hex[:12]}"
    here = str(connection.settings_dict["NAME"])
    server = DatabaseUrl.parse(os.environ["FORESTALL_DATABASE_URL"])
    with django_db_blocker.unblock():
        connection.close()
    with closing(connect(replace(server, name="postgres"))) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(here)))
        try:
            url = replace(server, name=name)
            with closing(connect(url)) as owner, django_db_blocker.unblock():
                _drop_checks(owner)
                planter = Planter(owner)
                acme, bolt = uuid4(), uuid4()
                shop, mill, ward = Place(acme, uuid4()), Place(acme, uuid4()), Place(bolt, uuid4())
                for place in (shop, mill, ward):
                    if place is mill:
                        # The client's own rows are there since the shop.
                        place.rows.update({model: row for model, row in shop.rows.items() if not has_site(model)})
                    for model in (Client, Site, *scoped_models()):
                        planter.plant(model, place)
                yield World(url, Roles.of(replace(server, name=here)), shop, mill, ward, planter)
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _drop_checks(owner: Any) -> None:
    found = owner.execute(
        "SELECT conrelid::regclass::text, conname FROM pg_constraint"
        " WHERE contype = 'c' AND connamespace = 'public'::regnamespace"
    ).fetchall()
    for table, name in found:
        owner.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(sql.SQL(table), sql.Identifier(name)))


def sees(raw: Any, model: Any, row: dict[str, Any]) -> bool:
    table, pk = sql.Identifier(model._meta.db_table), model._meta.pk.column
    statement = sql.SQL("SELECT count(*) FROM {} WHERE {} = %s").format(table, sql.Identifier(pk))
    return raw.execute(statement, [row[pk]]).fetchone()[0] == 1


def changed_by(raw: Any, model: Any, row: dict[str, Any]) -> list[str]:
    """Which statements changed a row, or added its like."""
    table, pk = sql.Identifier(model._meta.db_table), model._meta.pk.column
    condition = sql.SQL("WHERE {} = %s").format(sql.Identifier(pk))
    column = sql.Identifier(next(name for name in (*row, pk)))
    attempts = {
        "update": (sql.SQL("UPDATE {} SET {} = {} {}").format(table, column, column, condition), [row[pk]]),
        "delete": (sql.SQL("DELETE FROM {} {}").format(table, condition), [row[pk]]),
    }
    done = []
    for name, (statement, values) in attempts.items():
        try:
            with raw.transaction(force_rollback=True):
                if raw.execute(statement, values).rowcount:
                    done.append(name)
        except psycopg.errors.InsufficientPrivilege:
            pass
        except psycopg.errors.IntegrityError:
            done.append(name)
    return done


def may_insert(raw: Any, model: Any, row: dict[str, Any]) -> bool:
    try:
        with raw.transaction(force_rollback=True):
            raw.execute(*insert(model, row))
    except psycopg.errors.InsufficientPrivilege:
        return False
    except psycopg.errors.IntegrityError:
        return True  # past the wall: a constraint of the table stopped it
    return True


@pytest.mark.django_db
def test_every_table_of_clients_has_its_wall() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, count(p.oid) FROM pg_class c LEFT JOIN pg_policy p ON p.polrelid = c.oid"
            " WHERE c.relrowsecurity GROUP BY 1"
        )
        standing = dict(cursor.fetchall())
    missing = [model.__name__ for model in scoped_models() if standing.get(model._meta.db_table) != 5]
    assert not missing, f"no policies on the tables of {missing}"
    assert len(scoped_models()) >= 30


@pytest.mark.parametrize(
    ("bound", "foreign", "siblings"),
    [
        (lambda world: whole(world.ward), "shop", False),
        (lambda world: whole(world.shop), "ward", False),
        (lambda world: one_site(world.shop), "ward", False),
        (lambda world: one_site(world.shop), "mill", True),
        (lambda world: NOTHING, "shop", False),
        (lambda world: NOTHING, "ward", False),
    ],
    ids=["Bolt at Acme", "Acme at Bolt", "shop at Bolt", "shop at mill", "nobody at Acme", "nobody at Bolt"],
)
def test_foreign_rows_of_every_table_are_invisible_and_unwritable(world, bound, foreign, siblings) -> None:
    place, seen, written = getattr(world, foreign), [], []
    models_there = [model for model in scoped_models() if not siblings or has_site(model)]
    with world.as_console(bound(world)) as raw:
        for model in models_there:
            if sees(raw, model, place.rows[model]):
                seen.append(model.__name__)
            if what := changed_by(raw, model, place.rows[model]):
                written.append(f"{model.__name__}: {what}")
            if may_insert(raw, model, world.planter.row(model, place)):
                written.append(f"{model.__name__}: insert")
    assert not seen
    assert not written
    assert len(models_there) >= 20


@pytest.mark.parametrize("bound", [whole, one_site, lambda place: EVERYWHERE], ids=["client", "site", "everywhere"])
def test_own_rows_of_every_table_are_there_and_take_others_beside_them(world, bound) -> None:
    """The counter-proof: the wall has a door."""
    unseen, refused = [], []
    with world.as_console(bound(world.shop)) as raw:
        for model in scoped_models():
            if not sees(raw, model, world.shop.rows[model]):
                unseen.append(model.__name__)
            if not may_insert(raw, model, world.planter.row(model, world.shop)):
                refused.append(model.__name__)
    assert not unseen
    assert not refused


def test_a_row_cannot_be_moved_to_another_client_or_site(world) -> None:
    with world.as_console(whole(world.shop)) as raw:
        for model, column, value in (
            (apps.get_model("inventory.Device"), "client_id", world.ward.client),
            (apps.get_model("tickets.Ticket"), "client_id", world.ward.client),
            (apps.get_model("people.Site"), "client_id", world.ward.client),
        ):
            statement = sql.SQL("UPDATE {} SET {} = %s").format(
                sql.Identifier(model._meta.db_table), sql.Identifier(column)
            )
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
                raw.execute(statement, [value])
    with world.as_console(one_site(world.shop)) as raw:
        raw.execute("UPDATE inventory_device SET name = 'ours'")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            raw.execute("UPDATE inventory_device SET site_id = %s", [world.mill.site])


def test_joins_aggregates_and_functions_do_not_look_over_the_wall(world) -> None:
    with world.as_console(whole(world.shop)) as raw:
        for statement in (
            "SELECT count(*) FROM inventory_device d JOIN people_client c ON c.id = d.client_id WHERE c.id = %s",
            "SELECT count(*) FROM inventory_device WHERE client_id = %s",
            "SELECT count(*) FROM tickets_ticketevent e JOIN tickets_ticket t ON t.number = e.ticket_id"
            " WHERE t.client_id = %s",
            "WITH all_of_them AS (SELECT * FROM people_site) SELECT count(*) FROM all_of_them WHERE client_id = %s",
        ):
            assert raw.execute(statement, [world.ward.client]).fetchone() == (0,), statement
        assert raw.execute("SELECT count(*) FROM people_client").fetchone() == (1,)


def test_rows_for_every_client_are_read_by_whoever_is_bound_and_written_from_everywhere(world) -> None:
    rule = apps.get_model("tickets.RoutingRule")
    row = {**world.planter.row(rule, world.shop), "client_id": None, "site_id": None}
    with closing(connect(world.url)) as owner:
        owner.execute(*insert(rule, row))
    for bound in (whole(world.shop), one_site(world.ward)):
        with world.as_console(bound) as raw:
            assert sees(raw, rule, row)
            assert not changed_by(raw, rule, row)
            assert not may_insert(raw, rule, {**row, "id": 999_999})
    with world.as_console(EVERYWHERE) as raw:
        assert changed_by(raw, rule, row) == ["update", "delete"]
    with world.as_console() as raw:
        assert not sees(raw, rule, row)


def test_intake_and_worker_see_every_row_they_may_read(world) -> None:
    with world.as_role(world.roles.worker) as worker, world.as_role(world.roles.intake) as intake:
        for place in (world.shop, world.mill, world.ward):
            assert all(sees(worker, model, place.rows[model]) for model in scoped_models())
            for label in INTAKE:
                model = apps.get_model(label)
                if belongs(model):
                    assert sees(intake, model, place.rows[model]), label


def test_intakes_role_cannot_write_jobs_orders_or_tickets(world) -> None:
    with world.as_role(world.roles.intake) as intake:
        for label in (
            *("runbooks.Job", "runbooks.OrderRecord", "runbooks.RunbookRecord", "runbooks.RootRecord"),
            *("tickets.Ticket", "checks.Check", "people.Person", "people.Grant", "inventory.EnrolmentToken"),
        ):
            model = apps.get_model(label)
            row = world.planter.row(model, world.shop)
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
                intake.execute(*insert(model, row))
        for statement in (
            "UPDATE runbooks_job SET state = 'queued'",
            "DELETE FROM runbooks_job",
            "UPDATE inventory_device SET status = 'approved'",
            "UPDATE inventory_enrolmenttoken SET site_id = site_id",
            "SELECT * FROM people_person",
            "SELECT * FROM people_apitoken",
            "SELECT * FROM django_session",
            "SELECT detail FROM outbox_outboxevent",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
                intake.execute(statement)


def test_no_part_takes_anything_out_of_a_log(world) -> None:
    for role in (world.roles.console, world.roles.worker, world.roles.intake):
        with world.as_role(role, EVERYWHERE) as raw:
            for statement in (
                "DELETE FROM evidence_entry",
                "DELETE FROM evidence_lognode",
                "DELETE FROM evidence_checkpointrecord",
                "DELETE FROM evidence_clientlog",
                "UPDATE evidence_entry SET leaf = ''",
                "UPDATE evidence_entry SET leaf_hash = ''",
                "UPDATE evidence_lognode SET hash = ''",
                "UPDATE evidence_checkpointrecord SET root = ''",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
                    raw.execute(statement)


def test_only_the_owner_changes_tables_walls_and_roles(world) -> None:
    owner = sql.Identifier(world.url.user)
    for role in (world.roles.console, world.roles.worker, world.roles.intake):
        with world.as_role(role, EVERYWHERE) as raw:
            for statement in (
                "DROP TABLE inventory_device",
                "TRUNCATE inventory_device CASCADE",
                "ALTER TABLE inventory_device DISABLE ROW LEVEL SECURITY",
                "ALTER TABLE inventory_device ADD COLUMN more text",
                "ALTER TABLE inventory_device OWNER TO CURRENT_USER",
                "DROP POLICY forestall_read ON inventory_device",
                "CREATE POLICY open ON inventory_device USING (true)",
                "CREATE TABLE mine (id int)",
                "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
                "CREATE ROLE another",
                "ALTER ROLE CURRENT_USER BYPASSRLS",
                "GRANT ALL ON inventory_device TO PUBLIC",
                "COPY inventory_device TO PROGRAM 'cat'",
                sql.SQL("SET ROLE {}").format(owner),
                sql.SQL("SET SESSION AUTHORIZATION {}").format(owner),
                "SET session_replication_role = replica",
            ):
                with raw.transaction(force_rollback=True):
                    try:
                        with raw.transaction():
                            raw.execute(statement)
                    except psycopg.errors.InsufficientPrivilege:
                        continue
                    granted = raw.execute("SELECT has_table_privilege('public', 'inventory_device', 'SELECT')")
                    assert "GRANT" in str(statement), statement
                    assert granted.fetchone() == (False,)


def test_switching_row_security_off_is_an_error_and_not_a_view(world) -> None:
    with world.as_console(whole(world.shop)) as raw:
        raw.execute("SET row_security = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            raw.execute("SELECT * FROM inventory_device")


def test_values_that_are_no_ids_show_nothing(world) -> None:
    for nonsense in ("' OR true --", "*", "{}"):
        with (
            world.as_console(Bound("off", nonsense, nonsense, nonsense)) as raw,
            pytest.raises(psycopg.errors.InvalidTextRepresentation),
        ):
            raw.execute("SELECT * FROM inventory_device")


def test_building_the_walls_again_changes_nothing_and_mends_what_was_torn_down(world) -> None:
    with closing(connect(world.url)) as owner:
        assert secure(owner, roles=world.roles) == 0
        owner.execute("ALTER TABLE tickets_ticket DISABLE ROW LEVEL SECURITY")
        owner.execute("DROP POLICY forestall_update ON people_site")
        assert secure(owner, roles=world.roles) == 2
    with world.as_console(whole(world.shop)) as raw:
        assert not sees(raw, apps.get_model("tickets.Ticket"), world.ward.rows[apps.get_model("tickets.Ticket")])


def test_the_grants_name_models_that_exist() -> None:
    for label in (*CONSOLE, *WORKER, *INTAKE):
        apps.get_model(label)


def test_a_model_whose_paths_do_not_fit_together_is_named() -> None:
    class Crooked(models.Model):
        SCOPE_CLIENT = "device__client_id"
        SCOPE_SITE = "site_id"
        device = models.ForeignKey("inventory.Device", on_delete=models.CASCADE)
        site = models.ForeignKey("people.Site", on_delete=models.CASCADE)

        class Meta:
            app_label = "inventory"
            managed = False

    try:
        with pytest.raises(WallError, match="Crooked: SCOPE_CLIENT 'device__client_id'"):
            wall_of(Crooked)
    finally:
        del apps.all_models["inventory"]["crooked"]
        apps.clear_cache()


def test_an_owner_who_may_not_make_roles_is_told_what_to_do(world, tmp_path) -> None:
    with closing(connect(replace(world.url, name="postgres"))) as admin:
        name = f"plain_{uuid4().hex[:8]}"
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'plain-secret'").format(sql.Identifier(name)))
        try:
            plain = replace(world.url.as_user(name, "plain-secret"), name="postgres")
            with pytest.raises(RolesError, match=f'ALTER ROLE "{name}" CREATEROLE') as caught:
                roles_ensure(url=plain, home=Home(tmp_path))
            assert "plain-secret" not in str(caught.value)
        finally:
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def test_a_lost_password_is_made_anew(world, tmp_path) -> None:
    """The data folder was restored without its passwords: the roles get new ones, and get in."""
    url = replace(world.url, name="postgres")
    home = Home(tmp_path)
    first = roles_ensure(url=url, home=home)
    try:
        kept = part_passwords(home)
        assert roles_ensure(url=url, home=home) == first
        assert part_passwords(home) == kept, "what works stays"
        home.database_roles.unlink()
        roles_ensure(url=url, home=home)
        assert part_passwords(home) != kept
        assert oct(home.database_roles.stat().st_mode)[-3:] == "600"
    finally:
        with closing(connect(url)) as admin:
            for role in (first.console, first.intake, first.worker):
                admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


def test_nothing_is_granted_to_everybody(world) -> None:
    with closing(connect(world.url)) as owner:
        public = owner.execute(
            "SELECT table_name FROM information_schema.table_privileges"
            " WHERE grantee = 'PUBLIC' AND table_schema = 'public'"
        ).fetchall()
    assert public == []
