"""Ada's private key under a passphrase, on a laptop that gets stolen."""

from __future__ import annotations

import json

import pytest

from forestall.trust.keyfile import COST, KeyFileError, is_sealed, public_of, seal, unseal
from forestall.trust.keys import new_key, private_bytes, public_bytes

PASSPHRASE = "correct horse battery"
CHEAP = 1 << 4


@pytest.fixture(scope="module")
def key():
    return new_key()


@pytest.fixture(scope="module")
def sealed(key):
    return seal(private_bytes(key), PASSPHRASE, salt=b"s" * 16, nonce=b"n" * 12, cost=CHEAP)


def test_with_the_passphrase_it_opens_and_without_it_does_not(key, sealed):
    assert unseal(sealed, PASSPHRASE) == private_bytes(key)
    assert private_bytes(key).hex().encode() not in sealed
    for wrong in ("", "correct horse batterz", PASSPHRASE + " "):
        with pytest.raises(KeyFileError, match="not its passphrase"):
            unseal(sealed, wrong)


def test_whose_it_is_shows_without_the_passphrase(key, sealed):
    plain = private_bytes(key).hex().encode() + b"\n"
    assert (is_sealed(sealed), is_sealed(plain)) == (True, False)
    assert public_of(sealed) == public_of(plain) == public_bytes(key)
    assert unseal(plain, "any") == private_bytes(key)


def test_an_accent_is_the_same_however_it_is_composed(key):
    file = seal(private_bytes(key), "caf\u00e9 au lait sucr\u00e9", salt=b"s" * 16, nonce=b"n" * 12, cost=CHEAP)
    assert unseal(file, "cafe\u0301 au lait sucre\u0301") == private_bytes(key)


def test_a_short_passphrase_is_refused(key):
    with pytest.raises(KeyFileError, match="has 11 characters; take 12"):
        seal(private_bytes(key), "x" * 11, salt=b"s" * 16, nonce=b"n" * 12, cost=CHEAP)
    assert seal(private_bytes(key), "x" * 12, salt=b"s" * 16, nonce=b"n" * 12, cost=CHEAP)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"public": "00" * 32}, "not its passphrase"),
        ({"public": "00"}, "1 bytes, expected 32"),
        ({"sealed": "00" * 48}, "not its passphrase"),
        ({"nonce": "zz"}, "not hexadecimal"),
        ({"cost": 3}, "not a power of two"),
        ({"cost": 1}, "not a power of two"),
        ({"cost": 1 << 21}, "not a power of two"),
        ({"cost": CHEAP * 2}, "not its passphrase"),
        ({"more": 1}, "not a key file"),
        ({"format": "other"}, "not a key file"),
    ],
)
def test_a_changed_file_is_not_taken(sealed, changes, words):
    file = {**json.loads(sealed), **changes}
    with pytest.raises(KeyFileError, match=words):
        unseal(json.dumps(file).encode(), PASSPHRASE)


def test_what_is_no_key_file_says_so():
    for content, words in ((b"", "0 bytes"), (b"abc", "not hex"), (b"\xff", "not hex"), (b"{", "not a key file")):
        with pytest.raises(KeyFileError, match=words):
            public_of(content)


def test_another_keys_public_half_is_noticed(key):
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    from forestall.trust import keyfile

    other, salt, nonce = new_key(), b"s" * 16, b"n" * 12
    box = ChaCha20Poly1305(keyfile._derived(PASSPHRASE, salt, CHEAP))
    made = keyfile.Sealed(
        public=public_bytes(other).hex(), cost=CHEAP, salt=salt.hex(), nonce=nonce.hex(),
        sealed=box.encrypt(nonce, private_bytes(key), public_bytes(other)).hex(),
    )  # fmt: skip
    with pytest.raises(KeyFileError, match="another key's"):
        unseal(json.dumps({name: getattr(made, name) for name in made.__struct_fields__}).encode(), PASSPHRASE)


def test_files_of_the_first_release_still_open():
    """The very file, so that no parameter of the derivation can change unnoticed."""
    recorded = {
        "format": "forestall-key-1",
        "public": "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8",
        "cost": 16,
        "salt": "73" * 16,
        "nonce": "6e" * 12,
        "sealed": ("0bf867fefedd80547e90f4da764e490412e9de9084f13e72834f6b5785fc94700833983bcae874de88c398c99dafae1b"),
    }
    assert unseal(json.dumps(recorded).encode(), PASSPHRASE) == bytes(range(32))
    assert json.loads(seal(bytes(range(32)), PASSPHRASE, salt=b"s" * 16, nonce=b"n" * 12, cost=CHEAP)) == recorded
    assert COST == 2**17
