"""The author domains of a message: those of the addresses that a reader may be shown as its sender (RFC 9989 5.3.1).

A message has one From field with one address, and most have. Where there are several fields or addresses, every domain
counts: nobody knows which one a mail program shows. Read strictly where that works, else leniently: a local-part that
RFC 5322 does not allow (`bob..smith@carrier.example` exists) does not hide a domain.
"""

import re

from mailserver.mail.address import canonical_domain
from mailserver.mail.address_fields import address_spans
from mailserver.mail.address_list import MAX_FIELD_CHARS, mailboxes_in
from mailserver.policy.dmarc.result import Authors

MAX_DOMAINS = 4
_MAX_FIELDS = 4

# With its folds. Looked for in one pass: a header may hold 60,000 lines.
_FROM = re.compile(rb"\nfrom[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)", re.IGNORECASE)


def authors_of(section: bytes) -> Authors:
    """Read the From fields of a header section."""
    values = _FROM.findall(b"\n" + section)
    if not values:
        return Authors(problem="there is no From field")
    if len(values) > _MAX_FIELDS:
        return Authors(problem="there are too many From fields", is_suspect=True)
    domains: dict[str, None] = {}
    for value in values:
        found = _domains(value.replace(b"\r\n", b"").strip())
        if found is None:
            return Authors(problem="the From field cannot be read", is_suspect=b"@" in value)
        domains.update(dict.fromkeys(found))
    if len(domains) > MAX_DOMAINS:
        return Authors(problem="the From field holds too many domains", is_suspect=True)
    return Authors(tuple(domains))


def _domains(value: bytes) -> tuple[str, ...] | None:
    """The domains in one field; None when one of its addresses has none that can be read."""
    if len(value) > MAX_FIELD_CHARS:
        return None
    mailboxes = mailboxes_in(value.decode("utf-8", "surrogateescape"))
    if mailboxes is not None:
        return tuple(mailbox.domain for mailbox in mailboxes)
    found: list[str] = []
    for start, end in address_spans(value):
        _, at, text = value[start:end].rpartition(b"@")
        domain = canonical_domain(text.decode("utf-8", "replace").strip().removesuffix(".")) if at else None
        if domain is None:
            return None
        found.append(domain)
    return tuple(found) or None
