"""Backup exposure: can whoever takes over the device delete its backups?"""

from forestall.server.checks.result import Risk
from forestall.server.checks.tests.story import FAIL, PASS, UNKNOWN, ago, judged, known_with
from forestall.wire.facts import BackupRepository, Backups


def backup(name="nightly", **fields):
    return BackupRepository(
        **{"name": name, "tool": "restic", "location": "/b", "last_success_at": ago(hours=3), **fields}
    )


def exposed(*repositories, **policy):
    return judged("backup_exposure", known_with(Backups(repositories=repositories)), **policy)


def test_the_only_backup_within_reach_fails():
    local = backup(writable=True, immutable=False, remote=False, immutable_detail="in /b on this machine")
    result = exposed(local)["nightly"]
    assert result.status is FAIL
    assert "can delete nightly (restic), and no other backup is out of reach: in /b" in result.reason
    assert exposed(local, require_immutable=False)["nightly"].status is PASS


def test_one_copy_out_of_reach_is_enough():
    results = exposed(backup(writable=True), backup("vault", immutable=True, remote=True))
    assert {name: result.status for name, result in results.items()} == {"nightly": PASS, "vault": PASS}
    assert "but not vault" in results["nightly"].reason
    never_ran = backup("vault", immutable=True, last_success_at=None)
    assert exposed(backup(writable=True), never_ran)["nightly"].status is FAIL


def test_a_medium_that_is_taken_away_is_out_of_reach():
    assert exposed(backup(writable=True, offline=True, encrypted=True))["nightly"].status is PASS


def test_what_leaves_the_device_must_be_encrypted():
    result = exposed(backup(remote=True, encrypted=False, immutable=True))["nightly"]
    assert (result.status, result.risk) == (FAIL, Risk.MEDIUM)
    assert exposed(backup(remote=False, encrypted=False, immutable=True))["nightly"].status is PASS
    plain = backup(remote=True, encrypted=False, immutable=True)
    assert exposed(plain, require_encryption=False)["nightly"].status is PASS


def test_what_only_the_server_knows_is_unknown():
    result = exposed(backup(remote=True, immutable_detail="only its server knows whether it runs append-only"))[
        "nightly"
    ]
    assert result.status is UNKNOWN
    assert "Say it in backups.toml" in result.reason
