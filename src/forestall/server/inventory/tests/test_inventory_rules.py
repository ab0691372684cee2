"""What changed between two documents, as a person would say it."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestall.server.inventory.rules import SUMMARY_LENGTH, believed_time, first_seen_keys, summarise_change
from forestall.wire.facts import (
    DOCUMENTS,
    Access,
    Account,
    BackupLock,
    BackupRepository,
    Backups,
    BackupWarning,
    Certificate,
    Certificates,
    Disk,
    Disks,
    Firewall,
    Network,
    Package,
    Service,
    Services,
    Socket,
    Software,
    Sshd,
    System,
    Update,
    Updates,
    Volume,
    Volumes,
)

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


def packages(**versions):
    return Software(packages=tuple(Package(name=name, version=version) for name, version in versions.items()))


def services(**states):
    return Services(services=tuple(Service(name=name, state=state) for name, state in states.items()))


def system(**changes):
    return System(**{"hostname": "pc", "os_id": "debian", "os_name": "Debian 12", "os_version": "12", **changes})


STORIES = [
    (
        packages(a="1", b="1", c="1"),
        packages(a="2", b="1", d="1"),
        "1 package changed version: a 2; 1 package installed: d; 1 package removed: c",
    ),
    (
        packages(),
        packages(**{f"p{number}": "1" for number in range(9)}),
        "9 packages installed: p0, p1, p2, p3 and 5 more",
    ),
    (
        services(nginx="running", ssh="running"),
        services(nginx="failed", ssh="running"),
        "1 service changed state: nginx running → failed",
    ),
    (
        Access(accounts=(Account(name="ada", uid=1), Account(name="bob", uid=2, administrator=True))),
        Access(accounts=(Account(name="ada", uid=1, administrator=True), Account(name="eve", uid=3))),
        "1 administrator added: ada; 1 administrator removed: bob; 1 account added: eve",
    ),
    (
        Network(listening=(Socket(protocol="tcp", address="127.0.0.1", port=25),)),
        Network(listening=(Socket(protocol="tcp", address="::", port=3306, process="mariadbd"),)),
        "1 socket opened: tcp [::]:3306 (mariadbd); 1 socket closed: tcp 127.0.0.1:25",
    ),
    (
        Volumes(volumes=(Volume(mountpoint="/", device="sda1", filesystem="ext4", total_bytes=10**10),)),
        Volumes(
            volumes=(Volume(mountpoint="/", device="sda1", filesystem="ext4", total_bytes=2 * 10**10, read_only=True),)
        ),
        "1 volume resized: / 10.0 GB → 20.0 GB; 1 volume now read-only: /",
    ),
    (
        system(boot_id="1", kernel="6.1.0-39"),
        system(boot_id="2", kernel="6.1.0-40"),
        "restarted; running kernel 6.1.0-39 → 6.1.0-40",
    ),
    (system(), system(reboot_required=True, reboot_reasons=("libc6",)), "asks for a restart: libc6"),
    (
        Updates(),
        Updates(
            pending=(
                Update(name="openssl", installed="1", candidate="2", security=True),
                Update(name="vim", installed="1", candidate="2", security=False),
            )
        ),
        "1 security update pending: openssl; 1 update pending: vim",
    ),
    (
        Disks(disks=(Disk(device="sda", smart_passed=True),)),
        Disks(disks=(Disk(device="sda", smart_passed=False, pending_sectors=3),)),
        "sda: SMART says it is failing; sda: 3 pending sectors, were 0",
    ),
    (
        Sshd(installed=True, settings={"permitrootlogin": "no"}),
        Sshd(installed=True, settings={"permitrootlogin": "yes"}),
        "1 SSH setting changed: permitrootlogin no → yes",
    ),
    (Firewall(active=True, rules=9), Firewall(active=False), "firewall off; 9 → 0 rules"),
    (
        Backups(repositories=(BackupRepository(name="home", tool="restic", location="/b"),)),
        Backups(
            repositories=(
                BackupRepository(
                    name="home",
                    tool="restic",
                    location="/b",
                    last_run_at=NOW,
                    last_run_ok=False,
                    last_run_detail="locked",
                ),
            )
        ),
        "1 backup failed: home (locked)",
    ),
    (
        Backups(repositories=(BackupRepository(name="home", tool="restic", location="/b"),)),
        Backups(
            repositories=(
                BackupRepository(
                    name="home",
                    tool="restic",
                    location="/b",
                    locks=(BackupLock(who="process 7 on web-01"),),
                    warnings=(BackupWarning(kind="removed", detail="3 of 4 snapshots are gone"),),
                ),
            )
        ),
        "backup home: 3 of 4 snapshots are gone; 1 backup locked: home",
    ),
    (
        Certificates(certificates=(Certificate(address="::", port=443, subject="shop", fingerprint_sha256="a"),)),
        Certificates(certificates=(Certificate(address="::", port=443, subject="shop", fingerprint_sha256="b"),)),
        "1 certificate renewed: shop on port 443",
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "words"), STORIES, ids=[f"{new.name()}: {words[:30]}" for _, new, words in STORIES]
)
def test_a_change_is_said_in_words(old, new, words):
    assert summarise_change(old, new) == words


@pytest.mark.parametrize("document", [story[0] for story in STORIES], ids=lambda document: document.name())
def test_nothing_changed_is_nothing_to_say(document):
    assert summarise_change(document, document) == ""


def test_every_kind_of_document_can_be_summarised():
    for kind in DOCUMENTS:
        one = system() if kind is System else kind()
        assert summarise_change(one, one) == ""


def test_two_kinds_cannot_be_compared():
    with pytest.raises(ValueError, match="'software' and 'updates'"):
        summarise_change(Software(), Updates())


@given(
    st.lists(st.text(min_size=1, max_size=300), max_size=40), st.lists(st.text(min_size=1, max_size=300), max_size=40)
)
def test_a_summary_always_fits_its_column(before, after):
    words = summarise_change(packages(**dict.fromkeys(before, "1")), packages(**dict.fromkeys(after, "2")))
    assert len(words) <= SUMMARY_LENGTH
    assert bool(words) == (dict.fromkeys(before, "1") != dict.fromkeys(after, "2"))


def test_only_updates_and_administrators_are_remembered():
    assert first_seen_keys(Software()) is None
    pending = Updates(pending=(Update(name="n" * 900, installed="1", candidate="2", security=False),))
    (key,) = first_seen_keys(pending)
    assert len(key) == 400


def test_a_time_is_believed_as_far_as_it_can_be_true():
    assert believed_time(claimed=NOW, received=NOW) == NOW
    assert believed_time(claimed=datetime(2030, 1, 1, tzinfo=UTC), received=NOW) == NOW
    assert believed_time(claimed=datetime(2020, 1, 1, tzinfo=UTC), received=NOW) == datetime(
        2026, 11, 15, 9, tzinfo=UTC
    )
