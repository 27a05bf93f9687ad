"""Tells twistd of `twistd mailserver`. Nothing of the server is imported before it is asked for."""

from twisted.application.service import ServiceMaker

mailserver = ServiceMaker(
    "mailserver",
    "mailserver.tap",
    "A whole mail server: SMTP, submission, relay and POP3 in one process.",
    "mailserver",
)
