"""What comes in: messages accepted, filed, queued, refused."""

from dataclasses import dataclass, field
from typing import ClassVar

from mailserver.maillog.event import HISTORY, MailEvent


@dataclass(frozen=True, slots=True)
class Accepted(MailEvent):
    """A message was taken: it is on disk and the 250 follows. `protocol` as in Received (`ESMTPSA`).

    `subject` is the field's value as it came, unfolded and cut; whoever shows it decodes it. `device` names the app
    password behind `login`, if it was one.
    """

    word: ClassVar[str] = "accepted"
    queue_id: str
    peer: str
    reverse_path: str
    recipients: tuple[str, ...]
    size_octets: int
    protocol: str
    login: str = ""
    tls: str = ""
    message_id: str = ""
    hello: str = field(default="", metadata=HISTORY)
    subject: bytes = field(default=b"", metadata=HISTORY)
    device: str = ""


@dataclass(frozen=True, slots=True)
class Authenticated(MailEvent):
    """What was found out about who sent a stranger's message. Only what there was to check is told.

    `dkim`: each signature as `pass example.org s1 rsa-sha256`, with the reason when it did not pass. `arc` likewise.
    `spf`: the reverse-path as `fail example.org -all`, and HELO when its domain says anything. `dmarc`: the domain in
    From as `fail example.org reject`, with what was done because of it.
    """

    word: ClassVar[str] = "authenticated"
    queue_id: str
    peer: str
    dkim: tuple[str, ...] = ()
    arc: str = ""
    spf: tuple[str, ...] = ()
    dmarc: str = ""


@dataclass(frozen=True, slots=True)
class Filed(MailEvent):
    """One copy is in a Maildir. `file` is the unique part of its name there, which POP3 events name too."""

    word: ClassVar[str] = "filed"
    queue_id: str
    mailbox: str
    recipient: str
    file: str = field(default="", metadata=HISTORY)
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Weighed(MailEvent):
    """What speaks against a message that was taken, and what follows: `junk` or `none`.

    `dnsbl`: each block list as `zen.example 192.0.2.7 +1`. `filter`: what rspamd said, as
    `add header 8.10/6.00 BAYES_SPAM(5.10)`, or why it did not look. `dmarc`: the domain in From that asks for
    quarantine.
    """

    word: ClassVar[str] = "weighed"
    queue_id: str
    peer: str
    verdict: str
    dnsbl: tuple[str, ...] = ()
    filter: str = ""
    dmarc: str = ""


@dataclass(frozen=True, slots=True)
class Queued(MailEvent):
    """These recipients wait in the queue. `reason` tells why when they are local."""

    word: ClassVar[str] = "queued"
    queue_id: str
    recipients: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Refused(MailEvent):
    """A command or a message was refused with 4yz or 5yz. `command` is the verb; `about` the address in question.

    `recipients` are those of a whole message that was refused; `service` is `smtp`, `submission` and so on. `detail` is
    why, where the reply does not say all of it.
    """

    word: ClassVar[str] = "refused"
    queue_id: str
    peer: str
    command: str
    reply: str
    about: str = ""
    reverse_path: str = ""
    service: str = field(default="", metadata=HISTORY)
    hello: str = field(default="", metadata=HISTORY)
    login: str = field(default="", metadata=HISTORY)
    recipients: tuple[str, ...] = field(default=(), metadata=HISTORY)
    detail: str = ""
