"""Ed25519 as RFC 8032 has it."""

from __future__ import annotations

import pytest

from forestall.trust.keys import key_id, new_key, private_bytes, private_key, public_bytes, signature_holds

# RFC 8032, section 7.1, tests 1 and 2.
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe2465"
        "5141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb0"
        "0d291612bb0c00",
    ),
]


@pytest.mark.parametrize(("secret", "public", "message", "signature"), VECTORS)
def test_the_rfcs_vectors(secret: str, public: str, message: str, signature: str) -> None:
    key = private_key(bytes.fromhex(secret))
    assert private_bytes(key).hex() == secret
    assert public_bytes(key).hex() == public_bytes(key.public_key()).hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    said = {"public": bytes.fromhex(public), "signature": bytes.fromhex(signature)}
    assert signature_holds(**said, message=bytes.fromhex(message))
    assert not signature_holds(**said, message=bytes.fromhex(message) + b"x")


def test_a_key_comes_back_from_its_bytes_and_nothing_else_is_one() -> None:
    key = new_key()
    assert public_bytes(private_key(private_bytes(key))) == public_bytes(key)
    assert private_bytes(new_key()) != private_bytes(key)
    for size in (0, 31, 33):
        with pytest.raises(ValueError, match="32 bytes"):
            private_key(bytes(size))


@pytest.mark.parametrize("public", [b"", bytes(31), bytes(33), b"\xff" * 32])
@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), bytes(65)])
def test_keys_and_signatures_out_of_form_do_not_hold(public: bytes, signature: bytes) -> None:
    assert not signature_holds(public=public, signature=signature, message=b"m")


def test_a_signature_has_one_form() -> None:
    """Adding the group's order to the second half gives another number that naive verifiers take as well."""
    key = new_key()
    signature = key.sign(b"m")
    order = 2**252 + 27742317777372353535851937790883648493
    twin = signature[:32] + (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")
    assert signature_holds(public=public_bytes(key), signature=signature, message=b"m")
    assert not signature_holds(public=public_bytes(key), signature=twin, message=b"m")


def test_keys_have_different_names() -> None:
    assert key_id(public_bytes(new_key())) != key_id(public_bytes(new_key()))
