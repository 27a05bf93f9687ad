"""The Subject of a report: what happened to whom, and why, in a few words of the field. Pure.

It is all that many people read, and what a list of messages shows: "Not delivered: bob@example.net (mailbox full)".
"""

from email.header import Header

from mailserver.mail.reply import printable
from mailserver.policy.causes.names import Cause
from mailserver.relay.dsn_fields import Action, RecipientReport

_VERBS = {
    Action.FAILED: "Not delivered",
    Action.DELAYED: "Delayed",
    Action.DELIVERED: "Delivered",
    Action.RELAYED: "Handed on",
    Action.EXPANDED: "Handed on",
}
_MAX_ADDRESS_CHARS = 80

SHORT = {
    Cause.MAILBOX_UNKNOWN: "no such mailbox",
    Cause.MAILBOX_DISABLED: "mailbox disabled",
    Cause.MAILBOX_FULL: "mailbox full",
    Cause.MESSAGE_TOO_LARGE: "message too large",
    Cause.LINE_TOO_LONG: "a line is too long",
    Cause.HEADER_OR_FORMAT_PROBLEM: "the message's format",
    Cause.SMTPUTF8_UNSUPPORTED: "address not in ASCII",
    Cause.CONTENT_REJECTED_SPAM: "taken for spam",
    Cause.CONTENT_REJECTED_VIRUS_OR_ATTACHMENT: "attachment refused",
    Cause.BLOCKLISTED_DOMAIN_OR_URL: "domain on a block list",
    Cause.NO_REVERSE_DNS: "our server has no reverse name",
    Cause.REVERSE_DNS_IPV6: "our IPv6 address has no reverse name",
    Cause.DYNAMIC_IP_POLICY: "our address counts as dynamic",
    Cause.REPUTATION_IP: "our server is not trusted",
    Cause.BLOCKLISTED_IP: "our server is on a block list",
    Cause.SPF_FAIL: "SPF",
    Cause.DKIM_FAIL: "DKIM",
    Cause.DMARC_FAIL: "DMARC",
    Cause.UNAUTHENTICATED_SENDER: "sender not authenticated",
    Cause.FORWARDING_DMARC: "forwarded mail refused",
    Cause.REPUTATION_DOMAIN: "our domain is not trusted",
    Cause.SENDER_DOMAIN_UNRESOLVABLE: "sender's domain not found",
    Cause.TLS_REQUIRED: "TLS required",
    Cause.TLS_HANDSHAKE_FAILED: "TLS failed",
    Cause.AUTH_REQUIRED_OR_RELAY_DENIED: "relaying denied",
    Cause.RATE_LIMITED: "too much mail at once",
    Cause.QUOTA_SENDER: "sending limit reached",
    Cause.TOO_MANY_RECIPIENTS: "too many recipients",
    Cause.GREYLISTED: "greylisted",
    Cause.SERVICE_UNAVAILABLE_421: "server busy",
    Cause.REMOTE_LOCAL_ERROR: "server out of order",
    Cause.PROTOCOL_SYNC_ERROR: "protocol error",
    Cause.NULL_MX: "domain takes no mail",
    Cause.DOMAIN_NOT_FOUND: "domain not found",
    Cause.DNS_TEMPORARY: "DNS does not answer",
    Cause.CONNECTION_REFUSED: "server not reachable",
    Cause.CONNECTION_TIMED_OUT: "server does not answer",
    Cause.LOOP_DETECTED: "mail loop",
    Cause.UNKNOWN: "",
}


def subject_field(reports: tuple[RecipientReport, ...], causes: frozenset[Cause], *, is_double: bool = False) -> str:
    """The whole field, ASCII (RFC 2047), folded with CRLF, without its last one. `causes` of all these recipients.

    `is_double`: the message was a report of ours.
    """
    first = printable(str(reports[0].recipient.mailbox))
    if len(first) > _MAX_ADDRESS_CHARS:
        first = first[:_MAX_ADDRESS_CHARS] + "..."
    others = len(reports) - 1
    more = "" if not others else f" and {others} other{'s' if others > 1 else ''}"
    why = SHORT[next(iter(causes))] if len(causes) == 1 else ""
    verb = "Report not delivered" if is_double else _VERBS[reports[0].action]
    text = f"{verb}: {first}{more}{f' ({why})' if why else ''}"
    # What looks like an encoded word would be decoded by whoever reads it.
    charset = "us-ascii" if text.isascii() and "=?" not in text else "utf-8"
    return "Subject: " + Header(text, charset, header_name="Subject", maxlinelen=76).encode(linesep="\r\n")
