"""What an operator sets about sign-in: read strictly, and believed only from where it should come."""

from __future__ import annotations

import asyncio
import ssl

import pytest
from aiosmtpd.controller import Controller
from django.core.mail import EmailMessage, get_connection
from django.http import HttpResponse
from django.test import RequestFactory

from forestall.server.people.signin import passkeys_work
from forestall.server.people.signin_middleware import ProxyMiddleware
from forestall.server.people.signin_settings import (
    SignInSettingError,
    mail_settings,
    positive,
    public_url,
    trusted_proxies,
)
from forestall.server.sealing import SealError, seal, unseal


def test_a_mail_server_is_read_from_one_address():
    found = mail_settings(
        {
            "FORESTALL_MAIL_URL": "smtp://desk%40acme:p%40ss%2Fword@mail.example.org",
            "FORESTALL_MAIL_FROM": "desk@acme.org",
        }
    )
    assert (found["EMAIL_HOST"], found["EMAIL_PORT"], found["EMAIL_USE_TLS"]) == ("mail.example.org", 587, True)
    assert (found["EMAIL_HOST_USER"], found["EMAIL_HOST_PASSWORD"]) == ("desk@acme", "p@ss/word")
    implicit = mail_settings({"FORESTALL_MAIL_URL": "smtp://m:465?tls=implicit", "FORESTALL_MAIL_FROM": "a@b.c"})
    assert (implicit["EMAIL_USE_SSL"], implicit["EMAIL_USE_TLS"]) == (True, False)
    assert mail_settings({})["MAIL_IS_SET"] is False


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("smtp://user:secret@mail:99999", "is no address"),
        ("https://user:secret@mail", "names no mail server"),
        ("smtp://user:secret@mail?tls=maybe", "tls='maybe' is not known"),
        ("smtp://user:secret@mail", "FORESTALL_MAIL_FROM is not set"),
    ],
)
def test_a_wrong_mail_address_is_named_without_its_password(url, why):
    with pytest.raises(SignInSettingError, match=why) as refused:
        mail_settings({"FORESTALL_MAIL_URL": url})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("text", ["forestall.example.org", "ftp://x", "https://", "https://x.org/forestall"])
def test_a_public_address_is_whole_or_refused(text):
    with pytest.raises(SignInSettingError, match="FORESTALL_PUBLIC_URL"):
        public_url({"FORESTALL_PUBLIC_URL": text})


def test_a_public_address_gives_host_and_name():
    found = public_url({"FORESTALL_PUBLIC_URL": "https://forestall.example.org:8443/"})
    assert (str(found), found.name) == ("https://forestall.example.org:8443", "forestall.example.org")


def test_wrong_numbers_and_networks_are_named():
    with pytest.raises(SignInSettingError, match=r"'10\.0\.0\.0/99' is no address or network"):
        trusted_proxies({"FORESTALL_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/99"})
    for text in ("0", "-1", "soon", "inf", "nan"):
        with pytest.raises(SignInSettingError, match="FORESTALL_SESSION_HOURS"):
            positive({"FORESTALL_SESSION_HOURS": text}, "FORESTALL_SESSION_HOURS", 12)


@pytest.mark.parametrize(
    ("peer", "chain", "client"),
    [
        ("192.0.2.1", "203.0.113.5", "192.0.2.1"),
        ("127.0.0.1", "203.0.113.5", "203.0.113.5"),
        ("127.0.0.1", "6.6.6.6, 203.0.113.5", "203.0.113.5"),
        ("127.0.0.1", "6.6.6.6, 203.0.113.5, 10.1.2.3", "203.0.113.5"),
        ("127.0.0.1", "6.6.6.6, nonsense", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "2001:db8::1", "2001:db8::1"),
    ],
)
def test_only_trusted_proxies_say_who_the_client_is(settings, peer, chain, client):
    settings.TRUSTED_PROXIES = ["127.0.0.1", "10.0.0.0/8"]
    seen = []

    def answer(request):
        seen.append((request.META["REMOTE_ADDR"], request.is_secure(), request.get_host()))
        return HttpResponse()

    request = RequestFactory().get(
        "/", REMOTE_ADDR=peer, HTTP_X_FORWARDED_FOR=chain, HTTP_X_FORWARDED_PROTO="https",
        HTTP_X_FORWARDED_HOST="evil.example", HTTP_HOST="testserver",
    )  # fmt: skip
    ProxyMiddleware(answer)(request)
    assert seen == [(client, peer == "127.0.0.1", "testserver")]


@pytest.mark.parametrize(
    ("host", "secure", "works"),
    [
        ("localhost:8420", False, True),
        ("127.0.0.1:8420", False, False),
        ("[::1]:8420", True, False),
        ("localhost", False, True),
        ("forestall.example.org", True, True),
        ("forestall.example.org", False, False),
    ],
)
def test_passkeys_are_offered_where_browsers_make_them(settings, host, secure, works):
    settings.ALLOWED_HOSTS = ["*"]
    assert passkeys_work(RequestFactory().get("/", HTTP_HOST=host, secure=secure)) is works


def test_what_was_sealed_for_one_purpose_opens_for_no_other(settings):
    sealed = seal("a secret", purpose="second factor")
    assert "a secret" not in sealed
    assert unseal(sealed, purpose="second factor") == "a secret"
    with pytest.raises(SealError, match="the session was sealed"):
        unseal(sealed, purpose="session")
    settings.SECRET_KEY = "another server's"
    with pytest.raises(SealError):
        unseal(sealed, purpose="second factor")


class Letters:
    """A mail server that keeps what it is sent."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        self.kept.append(envelope.content)
        return "250 OK"


@pytest.fixture
def mail_server():
    letters = Letters()
    controller = Controller(letters, hostname="127.0.0.1", port=0)
    # Port 0: the system's choice, known once it listens.
    loop = controller.loop
    controller.server = loop.run_until_complete(loop.create_server(controller._factory_invoker, "127.0.0.1", 0))
    port = controller.server.sockets[0].getsockname()[1]
    import threading

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield letters, port
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    controller.server.close()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_mails_leave_beside_the_request(settings, mail_server):
    from forestall.server.people import signin_mail

    letters, port = mail_server
    for name, value in mail_settings(
        {"FORESTALL_MAIL_URL": f"smtp://127.0.0.1:{port}?tls=none", "FORESTALL_MAIL_FROM": "desk@example.org"}
    ).items():
        setattr(settings, name, value)
    connection = get_connection(settings.EMAIL_BACKEND)
    assert EmailMessage("Hello", "Words", to=["ada@example.org"], connection=connection).send() == 1
    signin_mail._sender.submit(lambda: None).result(timeout=20)
    assert b"Subject: Hello" in letters.kept[0]
    assert b"From: desk@example.org" in letters.kept[0]


def test_a_mail_server_that_is_gone_is_logged_without_the_mail(settings, caplog):
    from forestall.server.people import signin_mail

    for name, value in mail_settings(
        {"FORESTALL_MAIL_URL": "smtp://127.0.0.1:9?tls=none", "FORESTALL_MAIL_FROM": "desk@example.org"}
    ).items():
        setattr(settings, name, value)
    connection = get_connection(settings.EMAIL_BACKEND)
    EmailMessage("Reset", "https://secret-link", to=["ada@example.org"], connection=connection).send()
    signin_mail._sender.submit(lambda: None).result(timeout=20)
    assert "could not be sent by 127.0.0.1:9" in caplog.text
    assert "secret-link" not in caplog.text
    assert "ada@example.org" not in caplog.text


def test_starttls_is_asked_for_when_it_is_set(settings, mail_server):
    """A server that cannot encrypt gets no password and no mail."""
    import smtplib

    letters, port = mail_server
    for name, value in mail_settings(
        {"FORESTALL_MAIL_URL": f"smtp://u:p@127.0.0.1:{port}", "FORESTALL_MAIL_FROM": "desk@example.org"}
    ).items():
        setattr(settings, name, value)
    plain = get_connection("django.core.mail.backends.smtp.EmailBackend")
    with pytest.raises((smtplib.SMTPException, ssl.SSLError)):
        EmailMessage("Hello", "Words", to=["ada@example.org"], connection=plain).send()
    assert letters.kept == []
