"""Who answers for a report that came by mail: what this server found out when it took it. Pure.

Anybody can write a report in anybody's name. RFC 9990 3.5.2 and RFC 8460 3 want them to pass DMARC and to be signed;
our own Authentication-Results above our own Received tells whether they did. Nothing else in the message is believed.

Deviation: RFC 8460 3 has reports without a valid signature ignored. Here they are kept and marked, because many a
server checks no signatures, and a figure that is marked is more use than none.
"""

import re

from mailserver.mail.authentication_results import NAME, is_ours
from mailserver.mail.headers import fields
from mailserver.mail.reports import IMPORTED, Report

# A comment may hold comments once; ours escape what is in them.
_COMMENT = re.compile(rb"\((?:[^()\\]|\\.)*\)", re.DOTALL)
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_DOMAIN = rb"([A-Za-z0-9._-]{1,253})"
_DOMAIN_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)+")
_DMARC = re.compile(rb"\Admarc=pass\b.*?\bheader\.from=" + _DOMAIN, re.DOTALL)
_DKIM = re.compile(rb"\Adkim=pass\b.*?\bheader\.d=" + _DOMAIN, re.DOTALL)
_SPF = re.compile(rb"\Aspf=pass\b.*?\bsmtp\.mailfrom=(?:[^@\s;]*@)?" + _DOMAIN, re.DOTALL)


def vouching(section: bytes, hostname: str) -> tuple[str, ...]:
    """The domains that answer for a message, from its header section as it is filed here."""
    for field in fields(section):
        if field.name == b"received":
            return ()  # what stands below was there before us
        if field.name == NAME and is_ours(field.value, hostname):
            return _domains(field.value)
    return ()


def _domains(value: bytes) -> tuple[str, ...]:
    plain = _QUOTED.sub(b'""', _COMMENT.sub(b" ", value))
    results = [part.strip() for part in plain.split(b";")[1:]]
    found = [
        match[1].decode("ascii").lower()
        for rule in (_DMARC, _DKIM, _SPF)
        for one in results
        if (match := rule.match(one)) is not None
    ]
    return tuple(dict.fromkeys(found))


def proven_by(report: Report, vouchers: tuple[str, ...]) -> str:
    """The domain that answers for a report; empty when none that does belongs to who the report says it is from."""
    name = report.reporter.strip().lower()
    # Who calls himself by a domain's name has to be that one; a name in other words is as good as its contact.
    said = [name] if _DOMAIN_NAME.fullmatch(name) else [report.contact.strip(" <>").rpartition("@")[2].lower()]
    return next((one for one in vouchers for name in said if "." in one and "." in name and are_related(one, name)), "")


def shown(reporter: str, proven: str) -> str:
    """A reporter's name for people, with who vouches for it where the name does not tell."""
    if proven in ("", IMPORTED) or are_related(proven, reporter.strip().lower()):
        return reporter
    return f"{reporter} ({proven})"


def are_related(one: str, other: str) -> bool:
    """Whether one is the other, or stands below it."""
    return one == other or one.endswith(f".{other}") or other.endswith(f".{one}")
