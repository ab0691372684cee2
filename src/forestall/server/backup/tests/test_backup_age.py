"""The encryption is age's: what we write, age reads; what age writes, we read; and every damage is found."""

import io
import os

import pytest

from forestall.server.backup.age import (
    CHUNK_BYTES,
    TAG_BYTES,
    AgeError,
    Decryptor,
    Encryptor,
    Identity,
    KeyTextError,
    Passphrase,
    Recipient,
    WrongKeyError,
)

ADA = Identity.new()
BO = Identity.new()
CHUNK = CHUNK_BYTES + TAG_BYTES
SIZES = (0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 3 * CHUNK_BYTES + 7)


def encrypted(plain: bytes, to=None) -> bytes:
    file = io.BytesIO()
    out = Encryptor(file, to or [ADA.recipient], work_factor=10)
    for at in range(0, len(plain), 10_000):
        out.write(plain[at : at + 10_000])
    out.finish()
    return file.getvalue()


def decrypted(data: bytes, secret=ADA) -> bytes:
    return Decryptor(io.BytesIO(data), secret).readall()


@pytest.mark.parametrize("size", SIZES)
def test_what_was_written_is_read_again(size):
    plain = os.urandom(size)
    assert decrypted(encrypted(plain)) == plain


@pytest.mark.parametrize("size", SIZES)
def test_age_reads_what_we_write_and_we_read_what_age_writes(size):
    pyrage = pytest.importorskip("pyrage", reason="the reference implementation of age")
    plain = os.urandom(size)
    theirs = pyrage.x25519.Identity.from_str(str(ADA))
    assert str(theirs.to_public()) == str(ADA.recipient)
    assert pyrage.decrypt(encrypted(plain), [theirs]) == plain
    assert decrypted(pyrage.encrypt(plain, [theirs.to_public()])) == plain


def test_age_agrees_on_passphrases_and_several_recipients():
    pyrage = pytest.importorskip("pyrage", reason="the reference implementation of age")
    assert pyrage.passphrase.decrypt(encrypted(b"hello", Passphrase("a long sentence")), "a long sentence") == b"hello"
    both = encrypted(b"for both", [ADA.recipient, BO.recipient])
    assert pyrage.decrypt(both, [pyrage.x25519.Identity.from_str(str(BO))]) == b"for both"
    assert decrypted(both, ADA) == decrypted(both, BO) == b"for both"


def test_another_key_or_passphrase_opens_nothing():
    with pytest.raises(WrongKeyError, match="not for this key"):
        decrypted(encrypted(b"secret"), BO)
    with pytest.raises(WrongKeyError, match="passphrase is wrong"):
        decrypted(encrypted(b"secret", Passphrase("right")), Passphrase("wrong"))
    with pytest.raises(WrongKeyError, match="give that"):
        decrypted(encrypted(b"secret", Passphrase("right")), ADA)
    with pytest.raises(WrongKeyError, match="give the key file"):
        decrypted(encrypted(b"secret"), Passphrase("right"))


def test_every_flipped_byte_is_found():
    data = encrypted(os.urandom(2 * CHUNK_BYTES + 100))
    payload = len(data) - (2 * CHUNK + 100 + TAG_BYTES)
    offsets = [*range(payload), *range(payload, len(data), 997), len(data) - 1]
    for at in offsets:
        with pytest.raises(AgeError):
            decrypted(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def test_a_file_cut_off_anywhere_is_found_at_chunk_borders_too():
    plain = os.urandom(3 * CHUNK_BYTES)
    data = encrypted(plain)
    payload = len(data) - 3 * CHUNK
    borders = [payload + n * CHUNK for n in range(3)]
    for at in [0, 1, 30, payload - 1, *borders, *(b + 1 for b in borders), *(b - 1 for b in borders), len(data) - 1]:
        with pytest.raises(AgeError):
            decrypted(data[:at])


def test_chunks_swapped_repeated_left_out_or_appended_are_found():
    data = encrypted(os.urandom(3 * CHUNK_BYTES))
    head, body = data[: -3 * CHUNK], data[-3 * CHUNK :]
    one, two, three = body[:CHUNK], body[CHUNK : 2 * CHUNK], body[2 * CHUNK :]
    for altered in (two + one + three, one + one + two + three, one + three, body + three, body + b"\0", body * 2):
        with pytest.raises(AgeError):
            decrypted(head + altered)


def test_a_chunk_of_another_file_for_the_same_key_is_found():
    one, two = (encrypted(os.urandom(2 * CHUNK_BYTES)) for _ in range(2))
    with pytest.raises(AgeError):
        decrypted(one[:-CHUNK] + two[-CHUNK:])


def test_a_key_survives_being_copied_by_hand_and_a_slip_is_named():
    text = str(ADA)
    assert Identity.parse(f"# the key of our backups\n{text}\n").secret == ADA.secret
    assert Recipient.parse(str(ADA.recipient).upper()) == ADA.recipient
    slip = text[:-3] + ("Q" if text[-3] != "Q" else "P") + text[-2:]
    for wrong in (slip, "", "hello", text[:-1], str(ADA.recipient), text + "\n" + text):
        with pytest.raises(KeyTextError) as caught:
            Identity.parse(wrong)
        assert text[20:40] not in str(caught.value)
    assert text[20:30] not in repr(ADA)


def test_a_file_that_asks_for_gigabytes_of_memory_is_refused():
    data = encrypted(b"x", Passphrase("p")).replace(b" 10\n", b" 30\n", 1)
    with pytest.raises(AgeError, match="too much work"):
        decrypted(data, Passphrase("p"))
