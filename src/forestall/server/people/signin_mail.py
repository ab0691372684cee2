"""How mails about sign-in leave: beside the request, so that its duration tells nobody whether an address is known."""

from __future__ import annotations

import logging
import smtplib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.smtp import EmailBackend as Smtp

log = logging.getLogger(__name__)

_sender = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mail")


class InBackground(Smtp):
    """Hands messages to one thread that sends them in turn; what cannot be sent is logged with the server's answer."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        _sender.submit(self._send_all, list(email_messages))
        return len(email_messages)

    def _send_all(self, messages: list[EmailMessage]) -> None:
        try:
            Smtp.send_messages(self, messages)
        except (OSError, smtplib.SMTPException) as error:
            # Never the recipient or the text: a mail about sign-in may hold a link that resets a password.
            log.warning("a mail could not be sent by %s:%s: %s", self.host, self.port, error)


class NoMail(BaseEmailBackend):
    """No mail server is set: says so in the log, without a word of the message."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        log.warning("%d mail(s) were not sent: FORESTALL_MAIL_URL is not set", len(email_messages))
        return 0
