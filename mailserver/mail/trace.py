"""The trace fields of acceptance and final delivery (RFC 5321 4.4), put before everything else."""

import re
from datetime import UTC, datetime
from functools import lru_cache

from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import path_text
from mailserver.mail.ids import QueueId
from mailserver.mail.peer import Peer

# The source of what the server itself puts into the queue.
OUR_OWN = "our own report"
# Behind the source of a message whose copies for the addresses behind an alias became a message of their own.
_BEHIND_ALIAS = " (behind an alias)"


def source_text(peer: str, login: str, protocol: str) -> str:
    """How a message came, for the queue's file and `queue show`: `[192.0.2.1:4711] alice@example.org ESMTPSA`."""
    return f"[{peer}] {login} {protocol}" if login else f"[{peer}] {protocol}"


def login_of(source: str) -> str:
    """The login in what `source_text` made; empty for none. A login may hold blanks, the words around it never do."""
    if not source.startswith("["):
        return ""
    return source.removesuffix(_BEHIND_ALIAS).partition("] ")[2].rpartition(" ")[0]


def source_of_copies(source: str) -> str:
    """The source of a message that an alias made of one with this source: the same, marked once."""
    return source if is_of_copies(source) else source + _BEHIND_ALIAS


def is_of_copies(source: str) -> bool:
    """Whether an alias made it of a message that was in the queue before."""
    return source.endswith(_BEHIND_ALIAS)


def is_our_own(source: str) -> bool:
    """Whether it is a report of ours, or its copies."""
    return source.removesuffix(_BEHIND_ALIAS) == OUR_OWN


def local_trace(reverse_path: Mailbox | None, mailbox: Mailbox) -> bytes:
    """Return-Path and Delivered-To with CRLF line ends; Delivered-To is how a loop through a forwarder is seen."""
    return f"Return-Path: {path_text(reverse_path)}\r\nDelivered-To: {mailbox}\r\n".encode("utf-8", "replace")


# What a HELO name may hold in Received; everything else becomes `?`, so that it cannot end the clause or the field.
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._:\[\]-]")


def received_field(
    *,
    hello: str,
    peer: Peer,
    hostname: str,
    protocol: str,
    tls: str,
    queue_id: QueueId,
    recipient: Mailbox | None,
    now: float,
) -> bytes:
    """Our Received field with its CRLF (RFC 5321 4.4), the date in UTC.

    `hello` is the client's word, empty when it said none; then the address stands in its place. `protocol` as
    `protocol_name` has it, `tls` such as `TLSv1.3 TLS_AES_256_GCM_SHA384`. `recipient` is given only when it is the
    only one: naming one of several would tell each about the others (RFC 5321 7.2).
    """
    name = _NOT_IN_A_NAME.sub("?", hello) or peer.literal
    by = f"by {hostname} with {protocol}{f' ({tls})' if tls else ''}"
    for_whom = f" for <{recipient}>" if recipient is not None else ""
    date = date_text(int(now))
    text = f"Received: from {name} ({peer.literal})\r\n\t{by}\r\n\tid {queue_id}{for_whom};\r\n\t{date}\r\n"
    return text.encode("utf-8", "replace")


@lru_cache(maxsize=4)
def date_text(second: int) -> str:
    """A moment, in seconds since the epoch, as a date field writes it (RFC 5322 3.3), in UTC."""
    # The sendmail command starts without the whole email package, which it never needs.
    from email.utils import format_datetime

    return format_datetime(datetime.fromtimestamp(second, UTC))


def received_from_user(
    name: str, uid: int, hostname: str, queue_id: QueueId, recipient: Mailbox | None, now: float
) -> bytes:
    """The Received field of a message that a user of this machine handed to `sendmail`; there was no SMTP."""
    for_whom = f" for <{recipient}>" if recipient is not None else ""
    date = date_text(int(now))
    who = f"{_NOT_IN_A_NAME.sub('?', name)} (uid {uid})"
    text = f"Received: from {who}\r\n\tby {hostname} with local\r\n\tid {queue_id}{for_whom};\r\n\t{date}\r\n"
    return text.encode("utf-8", "replace")


def protocol_name(*, is_extended: bool, is_tls: bool, is_authenticated: bool, smtputf8: bool) -> str:
    """RFC 3848 and RFC 6531 4.3. HELO has no names for TLS and AUTH; with either it was more than plain SMTP."""
    if smtputf8:
        name = "UTF8SMTP"
    elif is_extended or is_tls or is_authenticated:
        name = "ESMTP"
    else:
        return "SMTP"
    return f"{name}{'S' if is_tls else ''}{'A' if is_authenticated else ''}"
