"""V16: numbers without end, forms without end, bombs in files: refused in words, at once, in little memory.

Bodies of the API have tests of their own beside it, and so have check-ins; this is for addresses, questions, headers,
forms and files of the console, and for what the API reads besides a body.
"""

from __future__ import annotations

import bz2
import gzip
import io
import re
import time
import tracemalloc
import zipfile
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client as Browser

from forestall.server.api.routing import route_table
from forestall.server.api.urls import api
from forestall.server.console.urls import urlpatterns
from forestall.server.home import read_or_make_secret
from forestall.server.people.roles import Role
from forestall.server.people.services import person_create, token_create
from forestall.server.tests.test_matrix_console import Page, pages

pytestmark = pytest.mark.django_db

NUMBERS = ("0", "-1", "9" * 19, "9" * 40, "9" * 10_000, "1e999", "٣", "0x10", "1_000", "1.5", "NaN")
MOST_EXTRA_BYTES = 16 * 1024 * 1024


@pytest.fixture
def ada(db) -> Browser:
    read_or_make_secret(settings.HOME.log_key)
    person = person_create(username="ada", password="a long password", role=Role.OWNER)
    browser = Browser(raise_request_exception=False)
    browser.force_login(person)
    session = browser.session
    session["account_authentication_methods"] = [{"method": "password", "at": time.time()}]
    session["account_authentication_methods_user"] = session["_auth_user_id"]
    session.save()
    browser.bearer = {"authorization": f"Bearer {token_create(person=person, name='t')}"}  # type: ignore[attr-defined]
    return browser


def whole(answer: Any) -> bytes:
    return b"".join(answer.streaming_content) if answer.streaming else answer.content


def refused(answer: Any, *about: object) -> None:
    """An answer in words: of the client's fault, never the server's."""
    assert 200 <= answer.status_code < 500, (answer.status_code, *(str(one)[:80] for one in about))


def filled(page: Page, value: str) -> str:
    """The page's address with a number in every place for one."""
    path = page.name and address_pattern(page)
    kinds = {"int": value, "uuid": str(uuid4()), "slug": "x", "str": value[:300] if "/" not in value else "x"}
    return "/" + re.sub(r"<(\w+):\w+>", lambda found: kinds[found[1]], path)


def address_pattern(page: Page) -> str:
    return next(str(one.pattern) for one in urlpatterns if one.name == page.name)  # type: ignore[union-attr]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda one: one[:12] + f"x{len(one)}")
def test_v16_no_number_in_an_address_breaks_a_page(ada, number):
    for page in {
        one.name: one for one in pages() if "<int" in address_pattern(one) or "<str" in address_pattern(one)
    }.values():
        for method in page.declared.methods:
            if method != "HEAD":
                answer = ada.generic(method, filled(page, number))
                refused(answer, page, method)
                assert answer.status_code != 200 or "str" in address_pattern(page), (page, method)


@pytest.mark.parametrize("number", NUMBERS, ids=lambda one: one[:12] + f"x{len(one)}")
def test_v16_no_number_in_a_question_breaks_a_list(ada, number):
    for page in pages():
        if page.parameters or page.fixed or "GET" not in page.declared.methods:
            continue
        names = (
            "page",
            "sort",
            "client",
            "check",
            "q",
            "from",
            "until",
            "span",
            "days",
            "at",
            "window",
            "site",
            "device",
            "tier",
            "view",
            "since",
            "kind",
            "state",
            "risk",
            "beside",
            "entry",
            "number",
            "month",
            "year",
        )
        refused(ada.get("/" + address_pattern(page), dict.fromkeys(names, number)), page)


@pytest.mark.parametrize("number", NUMBERS, ids=lambda one: one[:12] + f"x{len(one)}")
def test_v16_no_number_breaks_a_route(ada, number):
    for route in route_table(api):
        values = dict.fromkeys(route.parameters, number)
        answer = ada.generic(
            route.method,
            f"/api/v1{route.path.format(**values)}",
            b"{}",
            content_type="application/json",
            headers=ada.bearer,
        )
        refused(answer, route.method, route.path)
        if route.method == "GET":
            question = "&".join(f"{name}={number}" for name in ("limit", "cursor", "since", "until", "client", "site"))
            refused(ada.get(f"/api/v1{route.path.format(**values)}?{question}", headers=ada.bearer), route.path)


HEADERS = (
    "authorization",
    "cookie",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "accept",
    "accept-language",
    "x-live",
    "referer",
    "origin",
    "user-agent",
    "x-forwarded-for",
    "forestall-session",
)


@pytest.mark.parametrize("name", HEADERS)
def test_v16_no_header_is_too_large_to_refuse(ada, name):
    for value in (
        "x" * 1_000_000,
        "a=b; " * 100_000,
        '"' * 100_000,
        "en," * 100_000,
        "W/" + '"x",' * 100_000,
        "\x00\xff",
    ):
        begun = time.perf_counter()
        refused(ada.get("/devices/", headers={name: value}), name)
        refused(ada.get("/api/v1/devices", headers={**ada.bearer, name: value}), name)
        more = {"content_type": "application/json", "headers": {**ada.bearer, name: value}}
        refused(ada.post("/api/v1/clients", b"{}", **more), name)
        assert time.perf_counter() - begun < 5, "far below a second on a quiet machine"


def _multipart(parts: int) -> bytes:
    part = b'--b\r\nContent-Disposition: form-data; name="f%d"; filename="x"\r\n\r\nx\r\n'
    return b"".join(part % number for number in range(parts)) + b"--b--\r\n"


FORM, FILE = "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"
BODIES = {
    "5,000 fields": (b"&".join(b"f%d=x" % n for n in range(5000)), FORM),
    "one field 5,000 times": (b"&".join([b"name=x"] * 5000), FORM),
    "a field of 20 MB": (b"name=" + b"x" * 20_000_000, FORM),
    "a name of 2 MB": (b"x" * 2_000_000 + b"=1", FORM),
    "no UTF-8": (b"name=%ff%fe&reason=%c3%28", FORM),
    "half a percent": (b"name=%&reason=%z", FORM),
    "an unknown charset": (b"name=x", f"{FORM}; charset=no-such"),
    "UTF-16": ("name=x".encode("utf-16"), f"{FORM}; charset=utf-16"),
    "5,000 files": (_multipart(5000), FILE),
    "no end": (_multipart(3)[:-20], FILE),
    "no boundary": (b"x" * 1000, "multipart/form-data"),
    "an endless boundary": (b"x" * 1000, f"multipart/form-data; boundary={'b' * 100_000}"),
    "headers without end": (b"--b\r\n" + b"X: y\r\n" * 100_000 + b"\r\n\r\n--b--\r\n", FILE),
    "another type": (b"[" * 100_000, "application/json"),
    "packed": (gzip.compress(b"name=" + b"x" * 1_000_000), FORM),
}
FORMS = (
    "/clients/new",
    "/devices/approve",
    "/devices/views",
    "/groups/new",
    "/import/contacts/",
    "/theme",
    "/windows/new",
    "/people/invite",
    "/roles/new",
    "/tickets/new",
    "/accounts/login/",
    "/portal/tickets/new",
)


@pytest.mark.parametrize("kind", BODIES)
def test_v16_no_form_is_too_large_to_refuse(ada, kind):
    body, content_type = BODIES[kind]
    for path in FORMS:
        for browser in (ada, Browser(raise_request_exception=False)):
            refused(browser.generic("POST", path, body, content_type=content_type), kind, path)


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.csv", b"\0" * 50_000_000)
    return out.getvalue()


LISTS = {
    "a packed bomb": gzip.compress(b"client,name\n" + b"x" * 100_000_000),
    "a bomb of another kind": bz2.compress(b"x" * 100_000_000),
    "an archive": zipped(),
    "zero bytes": b"\0" * 100_000,
    "a quote that never ends": b'client,name\n"' + b"x" * 900_000,
    "100,000 columns": b",".join([b"c"] * 100_000) + b"\n1\n",
    "only separators": b"," * 900_000,
    "a million lines": b"client,name\n" + b"\n" * 900_000,
    "many short lines": b"client,name\n" + b"a,b\n" * 220_000,
    "one long line": b"client,name\nAcme," + b"x" * 900_000,
    "lines in other ends": b"client,name\r" + b"a,b\r" * 10_000,
    "numbers without end": b"site,name,bought_on\nAcme," + b"9" * 10_000 + b"," + b"9" * 10_000,
    "half a letter": b"client,name\nAcme,\xed\xa0\x80",
    "nothing": b"",
    "one mark": b"\xef\xbb\xbf",
}


@pytest.mark.parametrize("kind", LISTS)
def test_v16_no_list_is_too_odd_to_refuse(ada, kind):
    for slug in ("clients", "sites", "contacts", "assets"):
        tracemalloc.start()
        begun = time.perf_counter()
        answer = ada.post(f"/import/{slug}/", {"file": SimpleUploadedFile("x.csv", LISTS[kind])})
        spent = time.perf_counter() - begun
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        refused(answer, kind, slug)
        assert peak - 3 * len(LISTS[kind]) < 2 * MOST_EXTRA_BYTES, f"{peak:,} bytes"
        assert spent < 20, "traced, and on a busy machine"
