"""The addresses of sign-in: each of allauth's that has a use here, and nothing for those that have none.

allauth looks addresses up by name, also closed ones: those answer as if they were not there.
"""

from __future__ import annotations

from typing import Any

from allauth.account import views as account
from allauth.account.adapter import get_adapter as get_account_adapter
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base import views as mfa
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes import views as codes
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as webauthn
from allauth.socialaccount import views as social
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import URLPattern, path, re_path, reverse
from django.views.decorators.cache import never_cache
from django.views.generic import RedirectView

from forestall.server.people.signin import fresh, linked_accounts
from forestall.server.people.sso.views import come_back, leave


def closed(request: HttpRequest, **_: Any) -> HttpResponse:
    """Nobody signs up, and addresses are looked after by administrators."""
    raise Http404


@login_required
@never_cache
def reauthenticate(request: HttpRequest) -> HttpResponseBase:
    """By password; by single sign-on alone for whoever has nothing else; by signing in anew where there is neither."""
    if get_account_adapter().get_reauthentication_methods(request.user):
        answer: HttpResponseBase = account.reauthenticate(request)
        return answer
    if linked_accounts(person=request.user):  # type: ignore[arg-type]
        return render(request, "account/confirm.html")
    logout(request)
    return HttpResponseRedirect(f"{reverse('account_login')}?{request.GET.urlencode()}")


def connections(request: HttpRequest) -> HttpResponseBase:
    """Unlinking from the account page."""
    if request.method != "POST":
        return HttpResponseRedirect(reverse("console:account"))
    return fresh(social.connections)(request)


def remove_passkey(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Like allauth's, but the last second factor stays while a role needs one."""
    key = Authenticator.objects.filter(user=request.user.pk, type=Authenticator.Type.WEBAUTHN, pk=pk).first()
    if key is not None and not get_adapter().can_delete_authenticator(key):
        messages.error(request, get_adapter().error_messages["cannot_delete_authenticator"])
        return HttpResponseRedirect(reverse("console:account"))
    answer: HttpResponseBase = webauthn.remove_webauthn(request, pk=pk)
    return answer


your_account = RedirectView.as_view(pattern_name="console:account")

urlpatterns: list[URLPattern] = [
    path("login/", account.login, name="account_login"),
    path("logout/", account.logout, name="account_logout"),
    path("inactive/", account.account_inactive, name="account_inactive"),
    path("reauthenticate/", reauthenticate, name="account_reauthenticate"),
    path("password/change/", fresh(account.password_change), name="account_change_password"),
    path("password/set/", fresh(account.password_set), name="account_set_password"),
    path("password/reset/", account.password_reset, name="account_reset_password"),
    path("password/reset/done/", account.password_reset_done, name="account_reset_password_done"),
    path(
        "password/reset/key/done/",
        account.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    re_path(
        r"^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        account.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path("2fa/", your_account, name="mfa_index"),
    path("2fa/authenticate/", mfa.authenticate, name="mfa_authenticate"),
    path("2fa/reauthenticate/", mfa.reauthenticate, name="mfa_reauthenticate"),
    path("2fa/totp/activate/", never_cache(fresh(totp.activate_totp)), name="mfa_activate_totp"),
    path("2fa/totp/deactivate/", fresh(totp.deactivate_totp), name="mfa_deactivate_totp"),
    path("2fa/recovery-codes/", never_cache(fresh(codes.view_recovery_codes)), name="mfa_view_recovery_codes"),
    path("2fa/recovery-codes/generate/", fresh(codes.generate_recovery_codes), name="mfa_generate_recovery_codes"),
    path("2fa/webauthn/", your_account, name="mfa_list_webauthn"),
    path("2fa/webauthn/login/", webauthn.login_webauthn, name="mfa_login_webauthn"),
    path("2fa/webauthn/add/", never_cache(fresh(webauthn.add_webauthn)), name="mfa_add_webauthn"),
    path("2fa/webauthn/reauthenticate/", webauthn.reauthenticate_webauthn, name="mfa_reauthenticate_webauthn"),
    path("2fa/webauthn/keys/<int:pk>/remove/", fresh(remove_passkey), name="mfa_remove_webauthn"),
    path("2fa/webauthn/keys/<int:pk>/edit/", fresh(webauthn.edit_webauthn), name="mfa_edit_webauthn"),
    path("sessions/", your_account, name="usersessions_list"),
    path("sso/", connections, name="socialaccount_connections"),
    path("oidc/<slug:provider_id>/login/", leave, name="openid_connect_login"),
    path("oidc/<slug:provider_id>/login/callback/", come_back, name="openid_connect_callback"),
    # Closed.
    path("signup/", closed, name="account_signup"),
    path("email/", closed, name="account_email"),
    path("confirm-email/", closed, name="account_email_verification_sent"),
    path("confirm-email/<str:key>/", closed, name="account_confirm_email"),
    path("login/code/confirm/", closed, name="account_confirm_login_code"),
    path("2fa/recovery-codes/download/", closed, name="mfa_download_recovery_codes"),
    path("sso/signup/", closed, name="socialaccount_signup"),
    path("sso/login/cancelled/", closed, name="socialaccount_login_cancelled"),
    path("sso/login/error/", closed, name="socialaccount_login_error"),
]
