"""Django's settings. What an operator may change comes from the environment (docs/operating.md)."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from csp.constants import NONE, SELF

from forestall.server.database.url import database_settings
from forestall.server.home import console_address, current_home
from forestall.server.people.signin_settings import mail_settings, positive, public_url, trusted_proxies

HOME = current_home()
PACKAGE = Path(__file__).parent

# Without the file (type checking, a command before `forestall up`), a key for this process alone: nothing it
# signs is accepted by any other.
SECRET_KEY = HOME.secret_key.read_bytes().hex() if HOME.secret_key.exists() else secrets.token_hex(32)
DEBUG = False
ALLOWED_HOSTS = [console_address().host, "localhost", "127.0.0.1", "[::1]", "testserver"] + [
    host for host in os.environ.get("FORESTALL_HOSTS", "").split(",") if host
]
PUBLIC_URL = public_url(os.environ)
TRUSTED_PROXIES = trusted_proxies(os.environ)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")  # ProxyMiddleware lets through a trusted proxy's alone
CSRF_TRUSTED_ORIGINS = []
if PUBLIC_URL is not None:
    ALLOWED_HOSTS.append(PUBLIC_URL.name)
    CSRF_TRUSTED_ORIGINS.append(str(PUBLIC_URL))

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_htmx",
    "django_filters",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.usersessions",
    "forestall.server.people",
    "forestall.server.people.sso",
    "forestall.server.calendar",
    "forestall.server.evidence",
    "forestall.server.outbox",
    "forestall.server.inventory",
    "forestall.server.vulnerabilities",
    "forestall.server.checks",
    "forestall.server.alerts",
    "forestall.server.tickets",
    "forestall.server.runbooks",
    "forestall.server.patching",
    "forestall.server.recovery",
    "forestall.server.access",
    "forestall.server.configuration",
    "forestall.server.health",
    "forestall.server.reports",
    "forestall.server.webhooks",
    "forestall.server.transfer",
    "forestall.server.api",
    "forestall.server.console",
]

MIDDLEWARE = [
    "forestall.server.people.signin_middleware.ProxyMiddleware",
    "forestall.server.database.binding.ScopeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "forestall.server.people.signin_middleware.SignInMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "forestall.server.api.problems.ProblemMiddleware",
]

ROOT_URLCONF = "forestall.server.urls"
WSGI_APPLICATION = "forestall.server.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # Before the applications' own: the console dresses the sign-in pages of allauth.
        "DIRS": [PACKAGE / "console" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "forestall.server.console.context.theme",
            ],
        },
    },
]

DATABASES = {"default": database_settings(HOME)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "people.Person"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
ACCOUNT_ADAPTER = "forestall.server.people.accounts.ClosedAccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_SESSION_REMEMBER = False
ACCOUNT_REAUTHENTICATION_TIMEOUT = 15 * 60
ACCOUNT_LOGOUT_REDIRECT_URL = "/accounts/login/"
MFA_ADAPTER = "forestall.server.people.accounts.SealedMfaAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_TOTP_ISSUER = "Forestall"
MFA_TOTP_TOLERANCE = 1
MFA_FORMS = {
    "authenticate": "forestall.server.people.accounts.CodeForm",
    "reauthenticate": "forestall.server.people.accounts.ConfirmCodeForm",
    "add_webauthn": "forestall.server.people.accounts.PasskeyForm",
}
SOCIALACCOUNT_ADAPTER = "forestall.server.people.sso.rules.LinkedPersonsAdapter"
SOCIALACCOUNT_AUTO_SIGNUP = False
SOCIALACCOUNT_STORE_TOKENS = False
USERSESSIONS_ADAPTER = "forestall.server.people.signin_sessions.SessionsAdapter"
PASSKEY_HOST = PUBLIC_URL.name if PUBLIC_URL else ""
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/accounts/login/"
PASSWORD_RESET_TIMEOUT = 3600
_mail = mail_settings(os.environ)
MAIL_IS_SET = bool(_mail["MAIL_IS_SET"])
globals().update(_mail)

# Counted tries and used codes hold across threads, processes and restarts.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "people_cache",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
}

SESSION_ENGINE = "forestall.server.people.signin_sessions"
SESSION_COOKIE_AGE = int(positive(os.environ, "FORESTALL_SESSION_HOURS", 12) * 3600)
SESSION_IDLE_SECONDS = int(positive(os.environ, "FORESTALL_SESSION_IDLE_MINUTES", 120) * 60)
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PUBLIC_URL is not None and PUBLIC_URL.scheme == "https"
CSRF_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "manifest-src": [SELF],
    }
}

STATIC_URL = "/static/"
STATIC_ROOT = HOME.server / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
# The console's files are few and small: served from the packages themselves, no collect step to forget.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "forestall.server.plaintext.OneLineFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s: %(message)s",
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
}
