"""The next root, and what it says to whoever signs it."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from forestall.trust.keys import key_id, new_key, public_bytes
from forestall.trust.sign import role_of
from forestall.trust.statements import OperatorLimits, Revocation, RiskClass
from forestall.trust.succession import (
    Change,
    ChangeError,
    change_words,
    limits_words,
    next_root,
    revocation_words,
    single_signature_words,
)
from forestall.trust.tests.conftest import NOW

LATER = NOW + timedelta(days=30)
replace = msgspec.structs.replace


def name(key) -> str:
    return key_id(public_bytes(key))


def test_grace_joins_and_three_share_the_root(world):
    second, third = new_key(), new_key()
    alone = replace(world.root, operator=role_of([world.ada]))
    change = Change(
        add={"operator": [public_bytes(world.grace)], "root": [public_bytes(second), public_bytes(third)]},
        threshold={"root": 2},
        limits={name(world.grace)[:8]: OperatorLimits(risk=(RiskClass.CHANGE,), clients=("a", "b"), most_devices=20)},
        single_signature_devices=5,
    )
    root = next_root(alone, change, now=LATER)
    assert (root.version, root.issued_at, root.root.threshold) == (2, LATER, 2)
    words = change_words(alone, root, names={name(world.grace): "grace\x1b[2J"})
    assert words[0] == "Root version 1 becomes 2, valid until 2031-12-22."
    grace = f"grace\N{REPLACEMENT CHARACTER}[2J (key {name(world.grace)[:16]})"
    assert f"+ {grace} gets the role operator." in words
    assert "  The role root signs with 2 of 3 keys (was 1 of 1)." in words
    assert "  The role operator signs with 1 of 2 keys (was 1 of 1)." in words
    assert f"  {grace}: signs change for clients a, b, at most 20 devices a statement." in words
    assert "  One operator's signature may name at most 5 devices in a statement; more need two." in words
    assert not [line for line in words if line.startswith("No key")]
    # And back: she leaves, and her limits with her.
    left = next_root(root, Change(drop={"operator": [name(world.grace)]}, single_signature_devices=None), now=LATER)
    assert left.limits == {}
    words = change_words(root, left)
    assert f"- key {name(world.grace)[:16]} loses the role operator." in words
    assert f"  {single_signature_words(left)}" in words


def test_limits_can_be_lifted(world):
    limited = replace(world.root, limits={name(world.ada): OperatorLimits(most_devices=1)})
    kept = next_root(limited, Change(), now=LATER)
    assert kept.limits == limited.limits
    assert change_words(limited, kept)[1:] == ["No key, threshold or limit changes: only the version and the date."]
    lifted = next_root(limited, Change(limits={name(world.ada): OperatorLimits()}), now=LATER)
    assert lifted.limits == {}
    assert change_words(limited, lifted)[1] == f"  key {name(world.ada)[:16]}: no limits of its own."


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (None, "no limits of its own"),
        (OperatorLimits(most_devices=3), "signs every risk class for every client, at most 3 devices a statement"),
        (OperatorLimits(clients=("a",)), "signs every risk class for client a"),
        (
            OperatorLimits(risk=(RiskClass.CHANGE, RiskClass.DESTRUCTIVE)),
            "signs change and destructive for every client",
        ),
    ],
)
def test_limits_in_words(limits, words):
    assert limits_words(limits) == words


def test_what_does_not_fit_is_named(world):
    ada = public_bytes(world.ada)
    for change, words in (
        (Change(add={"operator": [ada]}), "holds the role operator already"),
        (Change(drop={"operator": ["ffff0000ffff"]}), "0 keys of the role operator begin with 'ffff0000ffff'"),
        (Change(drop={"operator": [""]}), "2 keys of the role operator"),
        (Change(drop={"operator": [name(world.ada)[:3]]}), "with 4 digits or more"),
        (Change(threshold={"root": 2}), "would need 2 signatures of 1 keys"),
        (Change(threshold={"root": 0}), "would need 0 signatures of 1 keys"),
        (Change(drop={"root": [name(world.root_key)]}), "would need 1 signatures of 0 keys"),
        (Change(limits={name(world.eve): OperatorLimits()}), "0 keys of the role operator"),
    ):
        with pytest.raises(ChangeError, match=words):
            next_root(world.root, change, now=LATER)


def test_a_revocation_in_words(world):
    revocation = Revocation(issued_at=NOW, orders=(), keys=(name(world.ada), name(world.eve)), reason="stolen\nlaptop")
    assert revocation_words(revocation, world.root, names={name(world.ada): "ada"}) == [
        f"- ada (key {name(world.ada)[:16]}) never counts again.",
        f"- key {name(world.eve)[:16]} never counts again; it holds no operator's role now.",
        "  Nobody can undo this: devices never forget it.",
        "Because: stolen\N{REPLACEMENT CHARACTER}laptop",
    ]


def test_one_signature_in_words(world):
    assert (
        single_signature_words(world.root) == "One operator's signature may name any number of devices in a statement."
    )
    assert single_signature_words(replace(world.root, single_signature_devices=5)) == (
        "One operator's signature may name at most 5 devices in a statement; more need two."
    )


def test_four_digits_name_a_key(world):
    dropped = next_root(world.root, Change(drop={"operator": [name(world.ada)[:4]]}), now=LATER)
    assert set(dropped.operator.keys) == {name(world.grace)}
    assert dropped.expires_at - LATER == timedelta(days=5 * 365)
