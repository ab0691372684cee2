"""Services: what should run and does not."""

from forestall.server.checks.tests.story import FAIL, PASS, UNKNOWN, ago, judged, known_with
from forestall.wire.facts import Gap, Service, Services


def services(*those, manager="systemd", gaps=(), previous=None, **policy):
    known = known_with(Services(manager=manager, services=those, gaps=gaps))
    return judged("service_down", known, previous=previous, **policy)


NGINX = Service(name="nginx", state="running", enabled=True, description="A high performance web server")


def test_a_failed_service_says_since_when_and_in_its_managers_words():
    down = Service(
        name="postgresql", state="failed", enabled=True, since=ago(hours=2), detail="exit-code, status=1",
        description="PostgreSQL",
    )  # fmt: skip
    result = services(NGINX, down)["postgresql"]
    assert result.status is FAIL
    assert (
        result.reason
        == "The service postgresql (PostgreSQL) has failed since 2026-11-23 07:00 UTC: exit-code, status=1."
    )
    assert result.evidence == ("systemctl status postgresql",)


def test_all_that_run_are_one_result():
    results = services(NGINX, Service(name="ssh", state="running", enabled=True))
    assert list(results) == [""]
    assert results[""].status is PASS
    assert results[""].reason == "All 2 services run."


def test_the_others_are_counted_without_those_that_are_down():
    down = Service(name="cups", state="failed", enabled=True)
    stopped = Service(name="bluetooth", state="stopped", enabled=False)
    assert services(NGINX, down)[""].reason == "The other service runs."
    assert services(NGINX, down, stopped)[""].reason.startswith("1 of the other 2 services run; the rest are")
    assert "" not in services(down)


def test_stopped_though_it_starts_at_boot_fails_stopped_and_disabled_passes():
    results = services(
        Service(name="cups", state="stopped", enabled=True, since=ago(hours=1)),
        Service(name="bluetooth", state="stopped", enabled=False, since=ago(hours=1)),
    )
    assert results["cups"].status is FAIL
    assert "bluetooth" not in results


def test_one_shots_that_ended_well_are_not_down():
    assert list(services(Service(name="networking", state="exited", enabled=True))) == [""]


def test_a_unit_whose_condition_does_not_hold_never_ran_and_is_not_down():
    assert list(services(Service(name="systemd-pstore", state="stopped", enabled=True, since=None))) == [""]


def test_a_failed_job_of_a_timer_is_down_though_the_unit_itself_is_not_enabled():
    assert services(Service(name="backup", state="failed", enabled=None))["backup"].status is FAIL


def test_failed_and_then_disabled_on_purpose_passes_and_says_so():
    results = services(Service(name="old", state="failed", enabled=False), previous={"old": FAIL})
    assert results["old"].status is PASS
    assert "on purpose" in results["old"].reason


def test_a_service_that_was_repaired_passes_under_its_own_name():
    results = services(NGINX, previous={"nginx": FAIL, "": PASS})
    assert (results["nginx"].status, results["nginx"].reason) == (PASS, "nginx is running.")


def test_where_nothing_starts_services_at_boot_a_stopped_one_is_not_down_but_a_dead_one_is():
    gap = Gap(what="whether services start at boot", why="process 1 (sleep) is no init that reads /etc/rc*.d")
    results = services(
        Service(name="cron", state="stopped", enabled=True),
        Service(name="web", state="failed", enabled=True, detail="/run/web.pid names process 7, which does not run"),
        manager="sysvinit", gaps=(gap,),
    )  # fmt: skip
    assert "cron" not in results
    assert results["web"].status is FAIL
    assert "names process 7" in results["web"].reason


def test_no_service_manager_is_unknown():
    assert services(manager="")[""].status is UNKNOWN


def test_policy_can_let_one_be_down():
    down = Service(name="cups", state="failed", enabled=True)
    assert "cups" not in services(down, ignore=["cups"])
    assert services(down, ignore=["cups"], previous={"cups": FAIL})["cups"].status is PASS
