"""What the stories about sign-in share: people at browsers, and a phone with an authenticator app."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import struct
import time

from django.test import Client as Browser

PASSWORD = "correct horse battery"


class Phone:
    """An authenticator app (RFC 6238), written apart from the product's own."""

    def __init__(self, secret: str) -> None:
        self._secret = base64.b32decode(secret)

    def code(self, at: float | None = None) -> str:
        counter = struct.pack(">Q", int(time.time() if at is None else at) // 30)
        digest = hmac.new(self._secret, counter, hashlib.sha1).digest()
        start = digest[-1] & 15
        return f"{(int.from_bytes(digest[start : start + 4], 'big') & 0x7FFFFFFF) % 10**6:06}"


def sign_in(name: str, password: str = PASSWORD, browser: Browser | None = None, **headers: str) -> Browser:
    """A browser in which somebody typed name and password."""
    browser = browser or Browser(**headers)
    browser.answer = browser.post("/accounts/login/", {"login": name, "password": password})
    return browser


def is_in(browser: Browser) -> bool:
    return browser.get("/keys").status_code == 200


def set_up_app(browser: Browser) -> tuple[Phone, list[str]]:
    """Scan the picture, type the code, keep the recovery codes."""
    page = browser.get("/accounts/2fa/totp/activate/").content.decode()
    secret = re.search(r"<details>.*?<code>([A-Z2-7 ]+)</code>", page, re.DOTALL).group(1).replace(" ", "")
    phone = Phone(secret)
    answer = browser.post("/accounts/2fa/totp/activate/", {"code": phone.code(time.time() - 30)})
    assert answer.status_code == 302, answer.content.decode()
    shown = browser.get(answer["Location"]).content.decode()
    return phone, re.findall(r"<code>(\d{4} \d{4})</code>", shown)
