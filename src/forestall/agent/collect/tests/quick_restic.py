"""A restic repository for tests whose key is derived in a moment: restic spends half a second of CPU on every call."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305


def init(repository: Path, password: str) -> dict[str, str]:
    """Make the repository; the environment with which restic opens it. Its key is made anew with a cheap scrypt."""
    environment = {
        "RESTIC_REPOSITORY": str(repository),
        "RESTIC_PASSWORD": password,
        "RESTIC_CACHE_DIR": f"{repository}.cache",
        "PATH": os.environ["PATH"],
        "HOME": str(repository.parent),
    }
    restic(environment, "init")
    master = restic(environment, "cat", "masterkey", "--no-lock").encode()
    salt = os.urandom(64)
    derived = hashlib.scrypt(password.encode(), salt=salt, n=1024, r=8, p=1, dklen=64)
    (old,) = (repository / "keys").iterdir()
    key = json.loads(old.read_bytes()) | {
        "N": 1024,
        "r": 8,
        "p": 1,
        "salt": base64.b64encode(salt).decode(),
        "data": base64.b64encode(_encrypt(derived, json.dumps(json.loads(master)).encode())).decode(),
    }
    text = json.dumps(key).encode()
    old.unlink()
    (old.parent / hashlib.sha256(text).hexdigest()).write_bytes(text)
    return environment


def restic(environment: dict[str, str], *words: str) -> str:
    """Run restic; its standard output."""
    done = subprocess.run(["restic", *words], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _encrypt(key: bytes, plain: bytes) -> bytes:
    """AES-256-CTR, then Poly1305 with the one-time key that AES makes of the nonce: restic's own format."""
    encryption, mac_k, mac_r = key[:32], key[32:48], bytearray(key[48:64])
    for number in (3, 7, 11, 15):
        mac_r[number] &= 15
    for number in (4, 8, 12):
        mac_r[number] &= 252
    nonce = os.urandom(16)
    cipher = Cipher(algorithms.AES(encryption), modes.CTR(nonce)).encryptor()
    sealed = cipher.update(plain) + cipher.finalize()
    block = Cipher(algorithms.AES(mac_k), modes.ECB()).encryptor()  # noqa: S305 - one block, as Poly1305-AES says
    one_time = bytes(mac_r) + block.update(nonce)
    return nonce + sealed + Poly1305.generate_tag(one_time, sealed)
