"""Ada's patch policy at Acme: what becomes of two updates, from first sight to proof, and of those that go wrong."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.models import Entry
from forestall.server.outbox.events import Event
from forestall.server.outbox.models import OutboxEvent
from forestall.server.patching import installing, planning, rollouts, services
from forestall.server.patching.models import Deployment, DeploymentChange, Rollout
from forestall.server.patching.obligation_services import obligation_rule_set
from forestall.server.patching.tests.ward import NANO, OPENSSL, SYSTEM
from forestall.server.people.roles import ROLE_PERMISSIONS, Role
from forestall.server.people.scope import NotAllowedError, Scope
from forestall.server.runbooks import services as runbooks
from forestall.server.runbooks.models import Job, JobState
from forestall.server.tickets.models import Ticket
from forestall.wire.facts import BackupRepository, Backups, OutdatedProcess, Restarts, Update

pytestmark = pytest.mark.django_db


def told(row) -> list[tuple[str, str]]:
    changes = DeploymentChange.objects.visible_to(SYSTEM).filter(deployment=row)
    return [(one.was, one.state) for one in changes]


def tickets() -> list[Ticket]:
    return list(Ticket.objects.visible_to(SYSTEM).filter(kind="patching").order_by("number"))


def in_the_window(ward) -> None:
    """The policy, its standing order and a window; then the window opens and the run goes out."""
    ward.policy(choose="security")
    ward.order()
    ward.window()
    ward.report()
    ward.report(minutes=65)


def test_nothing_is_installed_by_itself_until_somebody_says_so(ward) -> None:
    ward.report()
    row = ward.row()
    assert row.state == "blocked"
    assert row.why == "No patch policy covers this device: nothing is installed by itself."
    ward.policy()
    assert ward.row().why == "No maintenance window is planned for this device."
    assert ward.row("nano").why.endswith("and this is none: approve it.")
    ward.window()
    ward.report(minutes=40)
    row = ward.row()
    assert (row.state, row.why) == ("planned", "")
    assert row.planned_for == row.state_since.replace(minute=2) or row.planned_for > ward.now
    assert told(row)[0] == ("", "blocked")


def test_from_first_sight_to_verified(ward) -> None:
    in_the_window(ward)
    row, job = ward.row(), ward.job()
    assert (row.state, row.job_id) == ("installing", job.pk)
    assert job.state == JobState.QUEUED
    assert job.parameters["packages"] == "openssl:amd64=3.0.18-1"
    assert "1 update, 1 of them security fixes" in job.reason
    assert row.services_before == ["nginx", "ssh"]
    ward.answers(openssl="3.0.18-1")
    row = ward.row()
    assert row.state == "installed"
    assert row.why.startswith("Waits for a scan")
    assert row.installed_by == "standing order install-updates"
    ward.report()
    row = ward.row()
    assert (row.state, row.why) == ("verified", "")
    assert row.settled_at is not None
    assert told(row) == [
        ("", "blocked"), ("blocked", "planned"), ("planned", "installing"), ("installing", "installed"),
        ("installed", "verified"),
    ] or told(row) == [
        ("", "planned"), ("planned", "installing"), ("installing", "installed"), ("installed", "verified"),
    ]  # fmt: skip
    entry = Entry.objects.visible_to(SYSTEM).get(
        client=ward.office.client, index=int(row.evidence_reference.rpartition("#")[2])
    )
    assert entry.kind == EvidenceKind.DEPLOYMENT_CHANGED
    assert entry.payload["changes"][0]["state"] == "verified"
    assert ward.row("nano").state == "blocked"
    assert not tickets()


def test_a_scan_that_is_not_newer_than_the_run_proves_nothing(ward) -> None:
    in_the_window(ward)
    ward.report()
    ward.answers(openssl="3.0.18-1")
    services.deployments_follow_scan(device_id=ward.device.pk, now=ward.now)
    assert ward.row().state == "installed"


def test_a_reboot_that_is_needed_has_to_come(ward) -> None:
    in_the_window(ward)
    ward.answers(openssl="3.0.18-1")
    ward.reboot_required, ward.reasons = True, ("openssl",)
    ward.report()
    row = ward.row()
    assert (row.state, row.needs_reboot) == ("pending_reboot", True)
    assert row.why == "Installed; the machine has to be started again."
    ward.report()
    assert ward.row().state == "pending_reboot"
    ward.boot, ward.booted_at, ward.reboot_required, ward.reasons = "boot-2", ward.now, False, ()
    ward.running["nginx"] = "failed"
    ward.report()
    row = ward.row()
    assert (row.state, row.why) == ("installed", "Ran before and does not run: nginx.")
    ward.running["nginx"] = "running"
    ward.report()
    assert ward.row().state == "verified"


def test_a_reboot_for_another_package_is_not_this_ones(ward) -> None:
    in_the_window(ward)
    ward.answers(openssl="3.0.18-1")
    ward.reboot_required, ward.reasons = True, ("libc6",)
    ward.report()
    assert ward.row().state == "verified"


def test_services_that_still_run_the_old_code_keep_it_from_counting(ward) -> None:
    in_the_window(ward)
    ward.answers(openssl="3.0.18-1")
    ward.restarts = Restarts(
        processes=(OutdatedProcess(pid=7, name="sshd", service="ssh", files=("/lib/libssl.so.3",)),)
    )
    ward.report()
    assert ward.row().why == "Still runs the old code, restart it: ssh."
    ward.restarts = Restarts()
    ward.report()
    assert ward.row().state == "verified"


def test_the_same_scan_again_changes_nothing_and_the_proof_comes_by_the_clock(ward) -> None:
    in_the_window(ward)
    ward.answers(openssl="3.0.18-1")
    for document in ward.documents():
        del document
    ward.report()
    entries = Entry.objects.visible_to(SYSTEM).filter(kind=EvidenceKind.DEPLOYMENT_CHANGED).count()
    ward.report()
    ward.report()
    assert Entry.objects.visible_to(SYSTEM).filter(kind=EvidenceKind.DEPLOYMENT_CHANGED).count() == entries


def test_a_run_that_says_done_and_changed_nothing_failed(ward) -> None:
    in_the_window(ward)
    ward.answers()
    row = ward.row()
    assert row.state == "failed"
    assert row.why == "The run ended well and did not change it. 0 packages changed"
    (ticket,) = tickets()
    assert "openssl 3.0.18-1 failed" in ticket.events.first().text
    assert ticket.remediated


def test_a_failure_keeps_its_log_opens_one_ticket_and_the_proof_resolves_it(ward) -> None:
    in_the_window(ward)
    ward.answers(fail="dpkg returned an error code (1)")
    row = ward.row()
    assert (row.state, row.why, row.attempts) == ("failed", "dpkg returned an error code (1)", 1)
    assert row.log_excerpt.endswith("dpkg: error processing package")
    (ticket,) = tickets()
    assert row.ticket_id == ticket.number
    assert ticket.title == "Updates of web-01 need a person"
    ward.report()
    assert ward.row().state == "failed"
    planning.update_decide(
        scope=ward.office.scope, client=ward.office.client, decision="approve", name="openssl", now=ward.now
    )
    assert ward.row().state == "planned"
    ward.turn()
    ward.answers(openssl="3.0.18-1")
    ward.report()
    assert ward.row().state == "verified"
    (ticket,) = tickets()
    assert ticket.state == "resolved"
    assert ticket.verified_at is not None
    assert ticket.verification["reason"] == "verified: openssl 3.0.18-1"


def test_what_failed_for_the_moment_is_tried_again_three_times_in_the_window(ward) -> None:
    in_the_window(ward)
    for attempt in (1, 2):
        ward.answers(fail="Could not get lock /var/lib/dpkg/lock-frontend", action="updates.download")
        row = ward.row()
        assert (row.state, row.attempts) == ("staged", attempt)
        assert row.next_try_at > ward.now
        jobs = Job.objects.visible_to(SYSTEM).count()
        ward.report(minutes=1)
        assert Job.objects.visible_to(SYSTEM).count() == jobs  # not before its time
        ward.report(minutes=10 * 2 ** (attempt - 1))
        assert ward.row().state == "installing"
    ward.answers(fail="Could not get lock /var/lib/dpkg/lock-frontend")
    assert ward.row().state == "failed"
    assert len(tickets()) == 1


def test_pre_checks_on_the_device_block_and_count_for_no_attempt(ward) -> None:
    in_the_window(ward)
    ward.answers(fail="ada is signed in on tty1", action="updates.check")
    row = ward.row()
    assert (row.state, row.attempts) == ("blocked", 0)
    assert row.why == "Not fit to be updated: ada is signed in on tty1"
    assert not tickets()
    ward.report(minutes=31)
    assert ward.row().state == "installing"


def test_what_begins_and_does_not_end_is_failed_and_says_what_to_do(ward) -> None:
    ward.report()
    ward.provider = {"unfinished": ("openssl: unpacked, not configured",)}
    ward.report()
    row = ward.row()
    assert row.state == "failed"
    assert row.why.startswith("openssl: unpacked, not configured. Run `repair-packages`")
    assert len(tickets()) == 1
    ward.provider = {}
    ward.report()
    assert ward.row().state in ("planned", "blocked")


def test_found_installed_outside_forestall_and_verified_by_the_next_scan(ward) -> None:
    ward.report()
    ward.packages["openssl"] = "3.0.18-1"
    ward.pending = [NANO]
    ward.report()
    row = ward.row()
    assert (row.state, row.installed_by) == ("installed", "outside Forestall")
    ward.report()
    assert ward.row().state == "verified"


def test_withdrawn_when_it_is_offered_no_more(ward) -> None:
    ward.report()
    ward.pending = [NANO]
    ward.report()
    assert ward.row().state == "withdrawn"
    assert ward.row().why == "Offered no more; version 3.0.17-1 stays installed."
    del ward.packages["nano"]
    ward.pending = []
    ward.report()
    assert (ward.row("nano").state, ward.row("nano").why) == (
        "withdrawn", "Offered no more, and the package is not installed.",
    )  # fmt: skip


def test_a_newer_version_takes_its_place_and_the_clock_goes_on(ward) -> None:
    released = ward.now - timedelta(days=6)
    ward.pending = [msgspec.structs.replace(OPENSSL, released_at=released, severity="critical", cves=("CVE-2026-1",))]
    ward.report()
    old = ward.row()
    newer = msgspec.structs.replace(OPENSSL, candidate="3.0.19-1", released_at=ward.now, cves=("CVE-2026-2",))
    ward.pending = [newer]
    ward.report(days=3)
    old.refresh_from_db()
    new = ward.row(candidate="3.0.19-1")
    assert (old.state, old.why) == ("superseded", "Version 3.0.19-1 is offered instead.")
    assert (new.first_seen_at, new.released_at, new.severity) == (old.first_seen_at, released, "critical")
    assert new.cves == ["CVE-2026-2", "CVE-2026-1"]
    assert new.due_at == old.due_at is not None


def test_what_was_verified_and_is_undone_is_regressed_and_planned_again(ward) -> None:
    in_the_window(ward)
    ward.answers(openssl="3.0.18-1")
    ward.report()
    first = ward.row()
    assert first.state == "verified"
    ward.packages["openssl"] = "3.0.17-1"
    ward.pending = [OPENSSL, NANO]
    ward.report(hours=3)
    first.refresh_from_db()
    assert (first.state, first.why) == ("regressed", "Version 3.0.17-1 is installed again.")
    again = ward.row()
    assert again.pk != first.pk
    assert again.state == "planned"
    (ticket,) = tickets()
    assert "came undone" in ticket.events.first().text
    assert again.ticket_id == ticket.number


def test_providers_that_are_only_listed_say_so(ward) -> None:
    ward.provider = {}
    ward.pending = [
        Update(name="requests", installed="2.1", candidate="2.2", security=False, manager="pip", kind="language")
    ]
    ward.policy(choose="all")
    ward.window()
    ward.report()
    assert ward.row("requests").why == "Forestall only lists the updates of pip: install it by hand."


def test_a_policy_with_rings_starts_its_rollouts_by_itself(ward) -> None:
    ward.policy(choose="security", terms={"rings": True})
    ward.order()
    ward.window()
    ward.report()
    assert ward.row().why == "Goes ring by ring: the next rollout of its client takes it along."
    assert ward.row("nano").why.endswith("and this is none: approve it."), "the policy does not choose it"
    assert rollouts.rollouts_tick(now=ward.now) == 1
    started = Rollout.objects.visible_to(SYSTEM).get()
    assert (started.created_by, started.client, started.ring) == ("patch policy", ward.office.client, 1)
    assert (ward.row().rollout, ward.row("nano").rollout) == (started, None)
    assert rollouts.policies_roll_out(now=ward.now) == 0, "everything is carried"
    ward.report(minutes=65)
    row = ward.row()
    assert (row.state, row.job_id) == ("installing", ward.job().pk)
    assert f"ring 1 of rollout {str(started.pk)[:8]}" in ward.job().reason
    ward.answers(openssl="3.0.18-1")
    ward.report()
    assert ward.row().state == "verified"


def test_firmware_waits_for_its_test_on_the_named_device(ward) -> None:
    ward.pending, ward.packages["bios"] = (
        [Update(name="bios", installed="1", candidate="2", security=False, kind="firmware")],
        "1",
    )
    ward.policy(choose="all")
    ward.window()
    ward.report()
    ward.report(minutes=20)
    assert ward.row("bios").why == ("No test device is named for it, and it has to be tested before it is installed.")
    obligation_rule_set(
        client=ward.office.client, slug="firmware-quarterly", terms={"test_device": str(ward.device.pk)},
        reason="It can be spared.", scope=SYSTEM, now=ward.now,
    )  # fmt: skip
    ward.report(minutes=20)
    assert (ward.row("bios").state, ward.row("bios").why) == ("planned", ""), "the test device itself goes first"


def test_held_packages_stay_as_they_are(ward) -> None:
    ward.policy()
    ward.window()
    ward.pending = [msgspec.structs.replace(OPENSSL, held=True)]
    ward.report()
    assert ward.row().why.startswith("Held on the device itself")


def test_ada_excludes_defers_and_takes_it_back(ward) -> None:
    ward.policy()
    ward.window()
    ward.report()
    decide = {"scope": ward.office.scope, "client": ward.office.client, "name": "open*"}
    excluded = planning.update_decide(**decide, decision="exclude", reason="The till's vendor forbids it", now=ward.now)
    row = ward.row()
    assert (row.state, row.why, row.skip_by) == ("skipped", "The till's vendor forbids it", "ada")
    planning.decision_end(scope=ward.office.scope, decision=excluded, now=ward.now)
    assert ward.row().state == "planned"
    with pytest.raises(planning.PlanningError, match="was taken back"):
        planning.decision_end(scope=ward.office.scope, decision=excluded, now=ward.now)
    until = ward.now + timedelta(days=2)
    planning.update_decide(**decide, decision="defer", reason="Month end", until=until, now=ward.now)
    assert (ward.row().state, ward.row().skip_until) == ("skipped", until)
    ward.report(days=2, minutes=40)
    assert ward.row().state == "planned"
    kinds = Entry.objects.visible_to(SYSTEM).values_list("kind", flat=True)
    assert list(kinds).count(EvidenceKind.UPDATE_DECIDED) == 3


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ({"decision": "forget"}, "'forget' is not approve"),
        ({"decision": "exclude", "reason": " "}, "why it is excluded"),
        ({"decision": "defer", "reason": "x"}, "says when it ends"),
        ({"name": "*"}, "is no package"),
        ({"name": "a*b"}, "is no package"),
        ({"decision": "defer", "reason": "x", "until": timedelta(days=900)}, "within the next"),
        ({"decision": "exclude", "reason": "x" * 3000}, "3,000 characters"),
    ],
)
def test_decisions_that_say_too_little_are_refused(ward, said, names) -> None:
    if "until" in said:
        said["until"] = ward.now + said["until"]
    with pytest.raises(planning.PlanningError, match=names):
        planning.update_decide(
            **{
                "scope": ward.office.scope, "client": ward.office.client, "decision": "approve", "name": "nano",
                "now": ward.now, **said,
            }
        )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ({"choose": "some"}, "'some' is not"),
        ({"approval": "maybe"}, "'maybe' is not"),
        ({"defer_days": 91}, "91 is not"),
        ({"terms": {"reboot": "often"}}, "often"),
        ({"terms": {"warn_minutes": 2000}}, "2000 is not between"),
        ({"terms": {"shell": "x"}}, "shell"),
    ],
)
def test_policies_that_cannot_be_name_the_bad_value(ward, said, names) -> None:
    with pytest.raises(planning.PlanningError, match=names):
        ward.policy(**said)


def test_a_technician_without_patch_change_decides_nothing(ward) -> None:
    ward.report()
    rob = Scope.at("rob", None, ROLE_PERMISSIONS[Role.AUDITOR], clients=[ward.office.client.pk])
    with pytest.raises(NotAllowedError):
        planning.policy_set(scope=rob, client=ward.office.client, now=ward.now)
    with pytest.raises(NotAllowedError):
        planning.update_decide(scope=rob, client=ward.office.client, decision="approve", name="nano", now=ward.now)
    with pytest.raises(NotAllowedError):
        installing.deploy_now(scope=rob, device=ward.device, now=ward.now)


def test_manual_approval_is_waited_for(ward) -> None:
    ward.policy(approval="manual", choose="all")
    ward.order()
    ward.window()
    ward.report()
    assert ward.row().why == "Waits for approval."
    planning.update_decide(
        scope=ward.office.scope, client=ward.office.client, decision="approve", name="nano", device=ward.device,
        candidate="7.2-2", now=ward.now,
    )  # fmt: skip
    ward.report(minutes=65)
    assert ward.job().parameters["packages"] == "nano:amd64=7.2-2"
    assert ward.row().state == "blocked"


def test_a_policy_waits_days_after_the_release_but_no_longer_than_the_deadline(ward) -> None:
    ward.pending = [msgspec.structs.replace(NANO, released_at=ward.now)]
    ward.policy(choose="all", defer_days=7)
    ward.window()
    ward.report()
    row = ward.row("nano")
    assert row.state == "planned"
    assert row.why == "The policy waits 7 days after its release."
    ward.pending = [msgspec.structs.replace(OPENSSL, released_at=ward.now, severity="critical")]
    ward.report()
    ward.report(minutes=31)
    row = ward.row()
    assert row.due_at - row.released_at == timedelta(hours=72)
    assert row.planned_for < row.due_at


def test_without_a_standing_order_a_person_has_to_sign_once_a_window(ward) -> None:
    ward.policy()
    ward.window()
    ward.report()
    ward.report(minutes=65)
    row, job = ward.row(), ward.job()
    assert (row.state, job.state) == ("blocked", JobState.AWAITING_SIGNATURE)
    assert row.why.startswith("Waits for an operator's signature (no standing order lets install-updates run on web-01")
    assert row.why.endswith(f"forestall sign {job.pk}")
    ward.report(minutes=6)
    assert Job.objects.visible_to(SYSTEM).count() == 1
    ward.office.submit(ward.office.sign(job))
    ward.turn()
    assert ward.row().state == "installing"
    ward.answers(job, openssl="3.0.18-1")
    ward.report()
    assert ward.row().state == "verified"
    assert "signed by key" in ward.row().installed_by


def test_a_run_that_nobody_signs_ends_with_its_window(ward) -> None:
    ward.policy()
    ward.window()
    ward.report()
    ward.report(minutes=65)
    job = ward.job()
    ward.report(minutes=130)
    runbooks.jobs_expire(now=ward.now)
    ward.turn()
    job.refresh_from_db()
    assert job.state == JobState.EXPIRED
    row = ward.row()
    assert (row.state, row.attempts) == ("planned", 0)
    assert row.planned_for > ward.now
    assert not tickets()


def test_an_order_that_does_not_fit_the_policy_is_not_stretched(ward) -> None:
    ward.policy(terms={"reboot": "when_needed"})
    ward.order()
    ward.window()
    ward.report()
    ward.report(minutes=65)
    assert "the order does not allow reboot = 'when_needed'" in ward.row().why


def test_a_backup_that_is_too_old_blocks_where_the_policy_says_so(ward) -> None:
    ward.policy(terms={"backup": "block", "backup_hours": 24})
    ward.order()
    ward.window()
    ward.report()
    ward.report(minutes=65)
    assert ward.row().why == "No backup of this device is known."
    good = BackupRepository(name="home", tool="restic", location="/srv", last_success_at=ward.now)
    ward.backups = Backups(repositories=(good,))
    ward.report(minutes=6)
    assert ward.row().state == "installing"


def test_a_silent_device_gets_no_run(ward) -> None:
    ward.policy()
    ward.order()
    ward.window()
    ward.report()
    ward.office.later(minutes=70)
    ward.turn()
    assert ward.row().state == "blocked"
    assert ward.row().why.startswith("The device is silent since")
    assert not Job.objects.visible_to(SYSTEM).exists()
    ward.report(minutes=6)
    assert ward.row().state == "installing"


def test_a_cancelled_run_lets_its_updates_go(ward) -> None:
    in_the_window(ward)
    runbooks.job_cancel(job=ward.job(), scope=ward.office.scope, now=ward.now)
    services.deployments_tick(now=ward.now)
    assert (ward.row().state, ward.row().why) == ("planned", "Its run was cancelled.")


def test_a_refusing_device_is_heard(ward) -> None:
    in_the_window(ward)
    job = ward.job()
    runbooks.job_delivered(job_id=job.pk, device=ward.device, now=ward.now)
    ward.office.receive(
        ward.office.answer(job.pk, outcome="refused", code="veto_hours", detail="not in these hours", steps=())
    )
    ward.turn()
    assert (ward.row().state, ward.row().attempts) == ("blocked", 0)
    assert "The device refused the run: not in these hours." in ward.row().why


def test_ada_installs_now_and_signs(ward) -> None:
    ward.report()
    begun = installing.deploy_now(
        scope=ward.office.scope, device=ward.device, choose="all", reason="Zero day", now=ward.now
    )
    (job,) = begun.jobs
    assert begun.updates == 2
    assert job.state == JobState.AWAITING_SIGNATURE
    assert job.reason == "ada installs now (Zero day): 2 updates, 1 of them security fixes"
    with pytest.raises(installing.DeployError, match="nothing to install now"):
        installing.deploy_now(scope=ward.office.scope, device=ward.device, choose="all", now=ward.now)
    ward.office.submit(ward.office.sign(job))
    ward.turn()
    ward.answers(job, openssl="3.0.18-1", nano="7.2-2")
    ward.report()
    assert set(ward.states().values()) == {"verified"}


def test_now_leaves_out_what_somebody_excluded_and_says_so(ward) -> None:
    ward.report()
    planning.update_decide(
        scope=ward.office.scope, client=ward.office.client, decision="exclude", name="nano", reason="No", now=ward.now
    )
    begun = installing.deploy_now(scope=ward.office.scope, device=ward.device, choose="all", now=ward.now)
    assert [(row.name, why) for row, why in begun.left] == [("nano", "skipped by ada: No")]
    with pytest.raises(installing.DeployError, match="'vim' has no pending update"):
        installing.deploy_now(scope=ward.office.scope, device=ward.device, packages=["vim"], now=ward.now)


def test_what_a_run_installs_beyond_its_list_goes_on_record(ward) -> None:
    in_the_window(ward)
    ward.answers(openssl="3.0.18-1", libc6="2.36-10")
    row = ward.row("libc6")
    assert (row.state, row.installed, row.candidate) == ("installed", "2.36-9", "2.36-10")
    ward.report()
    assert ward.row("libc6").state == "verified"


def test_a_newer_version_than_was_known_is_recorded_as_what_it_is(ward) -> None:
    in_the_window(ward)
    ward.pending = [NANO]
    ward.answers(openssl="3.0.19-1")
    assert ward.row(candidate="3.0.18-1").state == "superseded"
    new = ward.row(candidate="3.0.19-1")
    assert (new.state, new.security) == ("installed", True)
    ward.report()
    assert ward.row(candidate="3.0.19-1").state == "verified"


def test_five_hundred_updates_are_one_record_and_few_queries(ward, django_assert_max_num_queries) -> None:
    ward.pending = [replace_name(NANO, f"package-{number:03}") for number in range(500)]
    ward.packages |= {one.name: one.installed for one in ward.pending}
    ward.report(turn=False)
    with django_assert_max_num_queries(90):
        services.deployments_follow_scan(device_id=ward.device.pk, now=ward.now)
    rows = Deployment.objects.visible_to(SYSTEM).filter(device=ward.device)
    assert rows.count() == 500
    entries = Entry.objects.visible_to(SYSTEM).filter(kind=EvidenceKind.DEPLOYMENT_CHANGED)
    assert [len(one.payload["changes"]) for one in entries] == [500]
    events = OutboxEvent.objects.filter(name=Event.DEPLOYMENT_CHANGED)
    assert [len(one.detail["deployments"]) for one in events] == [500]
    ward.pending = []
    ward.packages |= dict.fromkeys([f"package-{number:03}" for number in range(500)], "7.2-2")
    ward.report(turn=False)
    with django_assert_max_num_queries(90):
        services.deployments_follow_scan(device_id=ward.device.pk, now=ward.now)
    assert rows.filter(state="installed").count() == 500


def test_more_than_one_run_takes_goes_into_several(ward) -> None:
    names = [f"package-{'x' * 60}-{number:03}" for number in range(100)]
    ward.pending = [replace_name(OPENSSL, name) for name in names]
    ward.packages |= dict.fromkeys(names, "3.0.17-1")
    in_the_window(ward)
    first = ward.job()
    assert len(first.parameters["packages"]) <= 4096
    chosen = first.parameters["packages"].split()
    assert 0 < len(chosen) < 100
    ward.answers(first, **{one.partition(":")[0]: "3.0.18-1" for one in chosen})
    second = ward.job()
    assert second.pk != first.pk
    assert not set(chosen) & set(second.parameters["packages"].split())


def test_a_device_whose_documents_were_there_before_is_caught_up_with(ward) -> None:
    ward.report(turn=False)
    OutboxEvent.objects.all().delete()  # as on an installation that was upgraded: nobody tells of them again
    assert services.deployments_tick(now=ward.now) == 2
    assert services.deployments_tick(now=ward.now) == 0


def replace_name(update: Update, name: str) -> Update:
    return msgspec.structs.replace(update, name=name)


def test_a_run_that_was_cut_short_is_judged_by_what_is_there(ward) -> None:
    """The agent was killed in the middle of it, and says so when it is back: nobody knows how far it came."""
    in_the_window(ward)
    job = ward.job()
    runbooks.job_delivered(job_id=job.pk, device=ward.device, now=ward.now)
    ward.office.receive(
        ward.office.answer(job.pk, outcome="failed", code="interrupted", detail="The agent was stopped.", steps=())
    )
    ward.turn()
    row = ward.row()
    assert (row.state, row.attempts) == ("planned", 1)
    ward.packages["openssl"] = "3.0.18-1"
    ward.pending = [NANO]
    ward.report()
    row = ward.row()
    assert (row.state, row.installed_by) == ("installed", f"run {job.pk}")
    ward.report()
    assert ward.row().state == "verified"
    assert not tickets()


def test_a_package_that_was_unpacked_and_does_not_work_is_not_installed(ward) -> None:
    in_the_window(ward)
    ward.provider = {"unfinished": ("openssl: unpacked, not configured",)}
    ward.answers(fail="dpkg: error processing package openssl (--configure): exit status 3", openssl="3.0.18-1")
    assert ward.row().state == "failed"
    ward.report()
    row = ward.row()
    assert row.state == "failed"
    assert "repair-packages" in row.why


def test_a_reboot_that_the_policy_puts_off_comes_in_the_next_window(ward) -> None:
    ward.policy(choose="security", terms={"reboot": "next_window"})
    ward.order()
    ward.window()
    ward.report()
    ward.report(minutes=65)
    ward.answers(openssl="3.0.18-1")
    ward.reboot_required, ward.reasons = True, ("openssl",)
    ward.report()
    assert ward.row().state == "pending_reboot"
    assert ward.job().runbook.slug == "install-updates"  # not in the window that installed it
    ward.report(hours=24)
    job = ward.job()
    assert (job.runbook.slug, job.parameters["warn_minutes"]) == ("reboot", 5)
    assert job.state == JobState.AWAITING_SIGNATURE  # no order lets it restart machines
    assert job.reason == "updates wait for a reboot: openssl"
    ward.report()
    assert Job.objects.visible_to(SYSTEM).filter(runbook__slug="reboot").count() == 1
