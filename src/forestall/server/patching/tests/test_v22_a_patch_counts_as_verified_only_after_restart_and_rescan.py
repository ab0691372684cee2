"""V22: a model of a machine on which everything happens in any order, and stale documents arrive all the time.

The model knows what is true: what is installed, which boot it is, what runs, what runs old code. The rules see only
documents, each collected at a moment of its own. Whatever the order, no update is called verified unless a scan after
its installation, a boot after it where one was needed, and the services of before all say so.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from forestall.server.patching import rules
from forestall.server.patching.models import SETTLED, DeploymentState
from forestall.server.patching.rules import MOVES, Move, MoveError, Row, Run, RunStep, Scan, State

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
OLD, NEW, NEWER = "3.0.17-1", "3.0.18-1", "3.0.19-1"
SERVICES = ("ssh", "nginx")


@dataclass
class Machine:
    """What is true on the device, and what its newest documents say."""

    now: datetime = NOW
    installed: str = OLD
    offered: str = NEW
    boot: int = 1
    booted_at: datetime = NOW - timedelta(days=3)
    up: set[str] = field(default_factory=lambda: set(SERVICES))
    old_code: set[str] = field(default_factory=set)
    asks_reboot: bool = False
    unfinished: bool = False
    needs: bool = True
    """Whether installing this update asks for a reboot."""
    documents: dict[str, tuple[datetime, dict]] = field(default_factory=dict)
    since: dict[str, datetime] = field(default_factory=dict)

    def collect(self, name: str) -> None:
        truth = {
            "updates": {
                "listed": self.offered == NEW and self.installed == OLD,
                "newer": NEWER if self.offered == NEWER and self.installed != NEWER else "",
                "unfinished": f"{'openssl'}: unpacked, not configured" if self.unfinished else "",
            },
            "software": {"versions": (self.installed,)},
            "system": {
                "boot_id": f"boot-{self.boot}",
                "boot_since": self.booted_at,
                "asks_reboot": self.asks_reboot,
            },
            "services": {"services": {name: "running" if name in self.up else "failed" for name in SERVICES}},
            "restarts": {"outdated": tuple(f"{name}: libssl.so.3" for name in sorted(self.old_code))},
        }[name]
        if name not in self.documents or self.documents[name][1] != truth:
            self.since[name] = self.now
        self.documents[name] = (self.now, truth)

    def install(self, version: str) -> None:
        self.installed = version
        self.asks_reboot = self.asks_reboot or self.needs
        self.old_code |= self.up

    def reboot(self, chance: random.Random) -> None:
        self.boot += 1
        self.booted_at = self.now
        self.asks_reboot, self.old_code = False, set()
        self.up = {name for name in SERVICES if chance.random() < 0.8}

    def scan(self) -> Scan:
        at = {name: when for name, (when, _) in self.documents.items()}
        said = {key: value for _, truth in self.documents.values() for key, value in truth.items()}
        return Scan(
            updates_at=at.get("updates"),
            updates_since=self.since.get("updates"),
            software_at=at.get("software"),
            system_at=at.get("system"),
            services_at=at.get("services"),
            restarts_at=at.get("restarts"),
            **{"listed": False, **said},
        )


def walk(seed: int) -> tuple[set[tuple[str, str]], int]:
    """One life of an update; the moves it made, and how often it was verified."""
    chance = random.Random(seed)
    machine = Machine(needs=chance.random() < 0.5)
    for name in ("updates", "software", "system", "services", "restarts"):
        if chance.random() < 0.9 or name in ("updates", "software"):
            machine.collect(name)
    row = Row(State.PLANNED, OLD, NEW)
    moves: set[tuple[str, str]] = set()
    verified = 0
    boot_at_install, truly_at = 0, NOW
    attempts = 0

    def become(move: Move | None) -> None:
        nonlocal row, verified
        if move is None:
            return
        rules.move_check(row.state, move.to)
        if row.state != move.to:
            moves.add((row.state, move.to))
        known = {key: value for key, value in move.fields.items() if key in Row.__dataclass_fields__}
        row = replace(row, state=move.to, why=move.why, **known)
        if move.to is State.VERIFIED:
            verified += 1
            proof(row)

    def proof(row: Row) -> None:
        assert row.installed_at is not None
        scans = {name: when for name, (when, _) in machine.documents.items()}
        # A fresh scan after the installation, really: not after what somebody reported.
        assert scans["updates"] > truly_at, "verified without a scan for updates after the installation"
        assert scans["software"] > truly_at
        assert machine.documents["software"][1]["versions"] == (NEW,)
        assert scans["system"] > truly_at
        if row.needs_reboot:
            assert machine.boot > boot_at_install, "verified without a reboot that was needed"
            assert machine.documents["system"][1]["boot_id"] != row.boot_id_before
            assert min(scans[name] for name in ("updates", "software", "system")) > row_boot(), "no scan after the boot"
        services = machine.documents["services"][1]["services"] if "services" in scans else {}
        for name in row.services_before:
            assert services.get(name) == "running", "verified while a service that ran before does not run"
            assert scans["services"] > truly_at
        assert not machine.documents["updates"][1]["unfinished"]

    def row_boot() -> datetime:
        return machine.documents["system"][1]["boot_since"]

    for _ in range(chance.randint(5, 60)):
        machine.now += timedelta(seconds=chance.randint(1, 900))
        act = chance.choice(
            ["updates", "software", "system", "services", "restarts", "scan", "scan", "scan", "run", "run", "reboot",
             "service", "outside", "rollback", "newer", "crash", "repair", "restart"]
        )  # fmt: skip
        if act in ("updates", "software", "system", "services", "restarts"):
            machine.collect(act)
        elif act == "scan":
            if chance.random() < 0.5:
                for name in ("updates", "software", "system", "services", "restarts"):
                    machine.collect(name)
                machine.now += timedelta(seconds=1)
            become(rules.after_scan(row, machine.scan()))
        elif act == "run" and row.state in rules.WAITING:
            row = replace(
                row, boot_id_before=f"boot-{machine.boot}", services_before=tuple(sorted(machine.up)), installed_by=""
            )
            become(Move(State.INSTALLING))
            attempts += 1
            ends = chance.choice(["changed", "changed", "nothing", "failed", "lock", "expired", "refused", "newer"])
            changed = None
            if ends in ("changed", "newer") and machine.installed == OLD:
                version = NEW if ends == "changed" else NEWER
                machine.install(version)
                changed = (OLD, version)
                boot_at_install, truly_at = machine.boot, machine.now
            outcome = {"changed": "succeeded", "newer": "succeeded", "nothing": "succeeded", "lock": "failed"}.get(
                ends, ends
            )
            steps = (
                RunStep("updates.install", outcome == "succeeded", "could not get lock" if ends == "lock" else ends),
            )
            run = Run(outcome=outcome, at=machine.now, by="policy", steps=steps, changed=changed, detail=ends)
            machine.now += timedelta(seconds=chance.randint(0, 60))
            if chance.random() < 0.2:
                machine.reboot(chance)  # before the answer is heard
            become(rules.after_run(row, run, attempts=attempts))
        elif act == "reboot":
            machine.reboot(chance)
        elif act == "service":
            name = chance.choice(SERVICES)
            machine.up ^= {name}
        elif act == "restart":
            machine.old_code = set()
        elif act == "outside" and machine.installed == OLD:
            machine.install(NEW)
            if row.state not in rules.IN_PLACE:  # else nobody sees that it was away in between
                boot_at_install, truly_at = machine.boot, machine.now
        elif act == "rollback" and row.state is not State.VERIFIED:
            machine.installed = OLD
        elif act == "rollback":
            machine.installed = OLD
            for name in ("updates", "software"):
                machine.collect(name)
            become(rules.after_scan(row, machine.scan()))
        elif act == "newer" and chance.random() < 0.2:
            machine.offered = NEWER
        elif act == "crash" and row.state in rules.WAITING and chance.random() < 0.3:
            machine.unfinished = True
        elif act == "repair":
            machine.unfinished = False
    return moves, verified


def test_v22_a_patch_counts_as_verified_only_after_restart_and_rescan() -> None:
    moves: set[tuple[str, str]] = set()
    verified = 0
    for seed in range(6000):
        seen, times = walk(seed)
        moves |= seen
        verified += times
    assert verified > 100  # else the walks show nothing
    assert ("pending_reboot", "verified") in moves
    assert ("installed", "verified") in moves
    assert ("verified", "regressed") in moves
    assert {to for _, to in moves} >= {State.FAILED, State.SUPERSEDED, State.PENDING_REBOOT, State.BLOCKED}


def test_v22_only_what_is_installed_can_become_verified() -> None:
    before = {was for was, following in MOVES.items() if State.VERIFIED in following}
    assert before == {State.INSTALLED, State.PENDING_REBOOT}
    assert State.VERIFIED not in rules.FIRST


def test_v22_no_run_verifies_anything() -> None:
    """Whatever a run reports, its own word is not a proof."""
    row = Row(State.INSTALLING, OLD, NEW, boot_id_before="boot-1")
    for outcome in ("succeeded", "failed", "refused", "expired", "cancelled"):
        for changed in (None, (OLD, NEW), (OLD, NEWER), ("", NEW), (OLD, "")):
            for needs in (None, True, False):
                run = Run(outcome=outcome, at=NOW, by="policy", changed=changed, was_delivered=True)
                move = rules.after_run(replace(row, needs_reboot=needs), run, attempts=1)
                rules.move_check(State.INSTALLING, move.to)
                assert move.to not in (State.VERIFIED, State.REGRESSED)
                if changed == (OLD, NEW):
                    assert move.to in rules.IN_PLACE


INSTALLED = Row(
    State.INSTALLED, OLD, NEW, installed_at=NOW, boot_id_before="boot-1", services_before=("ssh",),
    outdated_before=("cron: libc.so.6",),
)  # fmt: skip
AFTER = NOW + timedelta(minutes=5)
WELL = Scan(
    updates_at=AFTER, updates_since=AFTER, listed=False, software_at=AFTER, versions=(NEW,), system_at=AFTER,
    boot_id="boot-1", boot_since=NOW - timedelta(days=1), asks_reboot=False, services_at=AFTER,
    services={"ssh": "running"}, restarts_at=AFTER, outdated=("cron: libc.so.6",),
)  # fmt: skip


def test_v22_with_the_whole_proof_it_is_verified() -> None:
    move = rules.after_scan(INSTALLED, WELL)
    assert move is not None
    assert move.to is State.VERIFIED
    restarted = replace(WELL, boot_id="boot-2", boot_since=NOW + timedelta(minutes=2))
    again = rules.after_scan(replace(INSTALLED, state=State.PENDING_REBOOT, needs_reboot=True), restarted)
    assert again is not None
    assert again.to is State.VERIFIED


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"updates_at": NOW}, "Waits for a scan for updates"),
        ({"updates_at": None}, "Waits for a scan for updates"),
        ({"software_at": NOW}, "Waits for a list of the installed software"),
        ({"system_at": NOW - timedelta(hours=1)}, "Waits for what the system says"),
        ({"services_at": NOW}, "Waits for the list of services"),
        ({"services": {}}, "Ran before and does not run: ssh"),
        ({"services": {"ssh": "failed"}}, "Ran before and does not run: ssh"),
        ({"restarts_at": NOW}, "still runs old code"),
        ({"outdated": ("ssh: libssl.so.3",)}, "restart it: ssh"),
        ({"listed": True}, "still lists it"),
        ({"unlisted_why": "apt-cache could not be run"}, "could not be listed since: apt-cache"),
    ],
)
def test_v22_each_missing_part_of_the_proof_keeps_it_from_being_verified_and_is_named(changes, says) -> None:
    scan = replace(WELL, **changes)
    assert says in rules.missing_proof(INSTALLED, scan)
    move = rules.after_scan(INSTALLED, scan)
    assert move is None or move.to is State.INSTALLED


@pytest.mark.parametrize(
    ("boot", "since", "says"),
    [
        ("boot-1", NOW - timedelta(days=1), "has to be started again"),
        ("boot-2", NOW - timedelta(minutes=1), "has to be started again"),  # that boot was before the installation
        ("", None, "has to be started again"),
        ("boot-2", AFTER, "Waits for a scan for updates"),  # all that is known is from before the boot
    ],
)
def test_v22_a_reboot_that_was_needed_has_to_have_been(boot, since, says) -> None:
    row = replace(INSTALLED, state=State.PENDING_REBOOT, needs_reboot=True)
    scan = replace(WELL, boot_id=boot, boot_since=since)
    assert says in rules.missing_proof(row, scan)
    move = rules.after_scan(row, scan)
    assert move is None or move.to is not State.VERIFIED


def test_the_states_of_the_rules_are_those_of_the_table() -> None:
    assert {str(state) for state in State} == set(DeploymentState.values)
    assert set(SETTLED) == {str(state) for state in rules.SETTLED}
    assert set(MOVES) == set(State) == set(rules.MEANING)
    for state in rules.SETTLED - {State.VERIFIED}:
        assert not MOVES[state]
    # From every open state there is a way to an end.
    for state in set(State) - rules.SETTLED:
        assert rules.SETTLED & set(MOVES[state])
    with pytest.raises(MoveError, match="planned cannot become verified"):
        rules.move_check(State.PLANNED, State.VERIFIED)
    with pytest.raises(MoveError, match="new cannot become verified"):
        rules.move_check("", State.VERIFIED)
