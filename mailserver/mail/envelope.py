"""The envelope: reverse-path, recipients and their MAIL and RCPT parameters, never the header (RFC 5321 2.3.1)."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from mailserver.mail.address import Mailbox


class Notify(Enum):
    """RFC 3461 4.1."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


class Ret(Enum):
    """RFC 3461 4.3: what a DSN of action `failed` gives back."""

    FULL = "FULL"
    HDRS = "HDRS"


class Body(Enum):
    """RFC 6152: what the client said of the content. Unsaid is SEVENBIT, and binds nobody: 8-bit passes anyway."""

    SEVENBIT = "7BIT"
    EIGHTBITMIME = "8BITMIME"


@dataclass(frozen=True, slots=True)
class OriginalRecipient:
    """RFC 3461 4.2 ORCPT, decoded from xtext or utf-8-addr-xtext: for example `rfc822` and `alice@example.org`."""

    address_type: str
    address: str


@dataclass(frozen=True, slots=True)
class Recipient:
    """One forward-path with its RCPT parameters. `notify` empty means that the client said nothing (RFC 3461 4.1)."""

    mailbox: Mailbox
    notify: frozenset[Notify] = frozenset()
    orcpt: OriginalRecipient | None = None

    def wants(self, what: Notify) -> bool:
        """Whether a report of this kind may be sent. Unsaid means failure and delay (RFC 3461 4.1), never success."""
        if not self.notify:
            return what in (Notify.FAILURE, Notify.DELAY)
        return what in self.notify


@dataclass(frozen=True, slots=True)
class Envelope:
    """`reverse_path` None is the null reverse-path `<>`. `size_octets` is what SIZE declared (RFC 1870), or None.

    `is_disowned`: the domain of the reverse-path says that it did not send this (SPF *fail*), so that the address is
    somebody's who has nothing to do with it. Nothing is ever reported there.

    `require_tls`: MAIL said REQUIRETLS (RFC 8689), so that the message goes nowhere without proven TLS.

    `is_junk`: it was found to be junk when it was accepted, and is filed as such.
    """

    reverse_path: Mailbox | None
    recipients: tuple[Recipient, ...] = ()
    ret: Ret | None = None
    envid: str | None = None
    body: Body = Body.SEVENBIT
    smtputf8: bool = False
    size_octets: int | None = None
    is_disowned: bool = False
    require_tls: bool = False
    is_junk: bool = False

    def with_recipients(self, recipients: Iterable[Recipient]) -> "Envelope":
        """The same envelope for other recipients; itself when they are the same, as they nearly always are."""
        others = tuple(recipients)
        return self if others == self.recipients else replace(self, recipients=others)


def path_text(path: Mailbox | None) -> str:
    """A path in angle brackets as the wire and the log show it; `<>` for the null reverse-path."""
    return "<>" if path is None else f"<{path}>"
