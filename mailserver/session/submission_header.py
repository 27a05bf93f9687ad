"""The header of a submitted message (RFC 6409 8): whose From it is, what is added, what is removed.

Every other field, and the body, stay as they are octet for octet; signatures made by the client stay valid.
"""

from datetime import UTC, datetime
from email.utils import format_datetime

from mailserver.mail import reply as replies
from mailserver.mail.address import Mailbox
from mailserver.mail.address_list import mailboxes_in
from mailserver.mail.headers import fields
from mailserver.mail.ids import QueueId
from mailserver.mail.reply import Reply
from mailserver.policy.senders import may_send_as, sending_addresses
from mailserver.ports import Account, Directory

# RFC 5322 3.6.3 and 3.6.6: whom these name the other recipients must not learn.
_HIDDEN = frozenset((b"bcc", b"resent-bcc"))


def from_refusal(section: bytes, account: Account, directory: Directory) -> Reply | None:
    """None when every address in From belongs to the login, or when there is no From."""
    froms = [field.value for field in fields(section) if field.name == b"from"]
    if not froms:
        return None
    if len(froms) > 1:  # RFC 5322 3.6; readers differ in which one they show
        return replies.FROM_TWICE
    # Old devices write names in Latin-1 as they are. What is no UTF-8 becomes surrogates, which no address may hold.
    mailboxes = mailboxes_in(froms[0].decode("utf-8", "surrogateescape"), with_names=True)
    if mailboxes is None:
        return replies.FROM_UNREADABLE
    if all(may_send_as(account, mailbox, directory) for mailbox in mailboxes):
        return None
    return replies.from_not_yours(sending_addresses(account, directory))


def completed(section: bytes, *, sender: Mailbox, queue_id: QueueId, hostname: str, now: float) -> bytes:
    """The header section with From, Date and Message-ID added on top when missing, and without Bcc.

    A missing From is added (it is `sender`, which the login proved to own) and not refused: scripts and devices that
    pipe two lines into a mail program send none, and every sendmail has always added it for them.
    """
    names = {field.name for field in fields(section)}
    added: list[str] = []
    if b"from" not in names:
        added.append(f"From: <{sender}>\r\n")
    if b"date" not in names:
        added.append(f"Date: {format_datetime(datetime.fromtimestamp(now, UTC))}\r\n")
    if b"message-id" not in names:
        added.append(f"Message-ID: <{queue_id}@{hostname}>\r\n")
    kept = section if names.isdisjoint(_HIDDEN) else _without_hidden(section)
    return "".join(added).encode("utf-8") + kept


def _without_hidden(section: bytes) -> bytes:
    """The section without the fields whose names must not be told to the others."""
    out: list[bytes] = []
    place = 0
    for field in fields(section):
        if field.name in _HIDDEN:
            out.append(section[place : field.start])
            place = field.start + len(field.raw)
    out.append(section[place:])
    return b"".join(out)
