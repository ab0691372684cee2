"""``forestall signin``: how people sign in to this installation. On the server itself."""

from __future__ import annotations

import json

import click
from rich.console import Console

from forestall.cli.errors import CommandError
from forestall.cli.local import open_installation, read_secret


@click.group()
def signin() -> None:
    """Which roles need a second factor, single sign-on, mail. On the server itself."""


@signin.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(*, as_json: bool) -> None:
    """How people sign in now."""
    open_installation()
    from django.conf import settings

    from forestall.server.people.signin import mail_is_set_up
    from forestall.server.people.signin_policy import providers, roles_with_mfa

    found = {
        "second_factor_needed_by": roles_with_mfa(),
        "single_sign_on": [
            {
                "id": app.provider_id,
                "name": app.name,
                "issuer": app.settings["server_url"],
                "client_id": app.client_id,
                "links_by_email": bool(app.settings.get("link_by_email")),
                "email_domains": app.settings.get("email_domains", []),
                "redirect_uri": _redirect(app.provider_id),
            }
            for app in providers()
        ],
        "mail_server": f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT}" if mail_is_set_up() else None,
        "public_url": str(settings.PUBLIC_URL) if settings.PUBLIC_URL else None,
        "trusted_proxies": settings.TRUSTED_PROXIES,
        "session_hours": settings.SESSION_COOKIE_AGE / 3600,
        "session_idle_minutes": settings.SESSION_IDLE_SECONDS / 60,
    }
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"Second factor needed by: {', '.join(roles_with_mfa()) or 'no role'}")
    console.print(f"Sessions last {found['session_hours']:g} h, {found['session_idle_minutes']:g} min without use")
    console.print(f"Mail: {found['mail_server'] or 'not set up (FORESTALL_MAIL_URL)'}")
    console.print(f"Public address: {found['public_url'] or 'the listen address (FORESTALL_PUBLIC_URL)'}")
    console.print(f"Trusted proxies: {', '.join(settings.TRUSTED_PROXIES) or 'none'}")
    for app in providers():
        linking = "links by verified e-mail" if app.settings.get("link_by_email") else "links by hand"
        console.print(f"Single sign-on: [bold]{app.name}[/bold] ({app.provider_id}), {linking}")
        console.print(f"  issuer {app.settings['server_url']}, client {app.client_id}")
        console.print(f"  redirect URI {_redirect(app.provider_id)}")
    if not providers():
        console.print("Single sign-on: none")


@signin.command("require-mfa")
@click.argument("role")
@click.option("--off", is_flag=True, help="No longer ask for it.")
def require_mfa(*, role: str, off: bool) -> None:
    """Ask everybody with ROLE for a second factor, from their next request on."""
    open_installation()
    from forestall.server.people.models import CustomRole, Person
    from forestall.server.people.signin import has_second_factor
    from forestall.server.people.signin_policy import SignInPolicyError, mfa_policy_set, role_named

    try:
        named = role_named(role)
    except SignInPolicyError as error:
        raise CommandError(str(error)) from None
    mfa_policy_set(role=named, required=not off)
    if off:
        click.echo(f"{role}: a second factor is no longer asked for.")
        return
    held = {"grants__custom": named} if isinstance(named, CustomRole) else {"grants__role": named.value}
    people = Person.objects.filter(is_active=True, **held).distinct()
    missing = [one.username for one in people if not has_second_factor(person=one)]
    click.echo(f"{role}: a second factor is needed from the next request on.")
    if missing:
        click.echo(f"These have none yet and are asked to set one up first: {', '.join(missing)}")


@signin.group()
def oidc() -> None:
    """Single sign-on by OpenID Connect."""


@oidc.command()
@click.argument("provider")
@click.option("--name", help="As people call it: the button reads “Sign in with NAME”.")
@click.option("--issuer", required=True, help="The provider's address, such as https://login.example.org/realms/it.")
@click.option("--client-id", required=True, help="Under which the provider knows this Forestall.")
@click.option(
    "--link-by-email", is_flag=True, help="A verified address that exactly one person here has links the two."
)
@click.option("--email-domain", multiple=True, help="Link only addresses of this domain. May be repeated.")
def add(
    *, provider: str, name: str | None, issuer: str, client_id: str, link_by_email: bool, email_domain: tuple[str, ...]
) -> None:
    """Set up PROVIDER (a short name for addresses). Its client secret is asked for, or read from standard input.

    Nobody is ever created by it: it signs in persons who are here, active, and linked.
    """
    open_installation()
    from forestall.server.people.signin_policy import SignInPolicyError, provider_add

    secret = read_secret("Client secret")
    try:
        provider_add(
            provider_id=provider,
            name=name or provider.capitalize(),
            issuer=issuer,
            client_id=client_id,
            secret=secret,
            link_by_email=link_by_email,
            email_domains=email_domain,
        )
    except SignInPolicyError as error:
        raise CommandError(str(error)) from None
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{name or provider.capitalize()} is set up. Tell it this redirect URI:")
    console.print(f"  [bold]{_redirect(provider)}[/bold]")


@oidc.command()
@click.argument("provider")
def remove(*, provider: str) -> None:
    """Take PROVIDER away, with every link of people to it."""
    open_installation()
    from forestall.server.people.signin_policy import SignInPolicyError, provider_remove

    try:
        links = provider_remove(provider_id=provider)
    except SignInPolicyError as error:
        raise CommandError(str(error)) from None
    click.echo(f"{provider} is removed, and {links} links of people with it.")


@signin.group()
def mail() -> None:
    """The mail server of FORESTALL_MAIL_URL."""


@mail.command("test")
@click.argument("address")
def mail_test(*, address: str) -> None:
    """Send a mail to ADDRESS now, and say what the server answers."""
    import smtplib

    open_installation()
    from django.conf import settings
    from django.core.mail import EmailMessage, get_connection

    from forestall.server.people.signin import mail_is_set_up

    if not mail_is_set_up():
        raise CommandError("FORESTALL_MAIL_URL is not set: such as smtp://user:password@mail.example.org:587")
    message = EmailMessage(
        "[Forestall] It works",
        "This mail was sent by `forestall signin mail test`: the server can reach people.",
        to=[address],
        # At once, not beside a request: its answer is what this is about.
        connection=get_connection("django.core.mail.backends.smtp.EmailBackend"),
    )
    where = f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT}"
    try:
        message.send()
    except (OSError, smtplib.SMTPException) as error:
        raise CommandError(f"{where} did not take the mail: {error}") from None
    click.echo(f"{where} took the mail for {address}.")


def _redirect(provider_id: str) -> str:
    from forestall.server.home import console_address
    from forestall.server.people.signin_policy import redirect_address

    return redirect_address(provider_id, console=f"http://{console_address()}")
