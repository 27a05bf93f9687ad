"""The machine-readable part of a report: message/delivery-status fields (RFC 3464 2, RFC 6533 4). Pure.

Everything that a peer said goes through `_clean`: one printable line, so that no reply can add a field, break the MIME
structure or send control sequences to a terminal; then it is folded to at most 78 octets where it has blanks, and cut
where it has none.
"""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from enum import Enum

from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Envelope, Recipient
from mailserver.mail.outcome import Stage
from mailserver.mail.reply import Reply, printable

MAX_LINE_OCTETS = 78
# RFC 5321 4.5.3.1.6 allows 998; a word that is longer than this cannot be anything that somebody wants to read.
MAX_WORD_OCTETS = 900
_MAX_DIAGNOSTIC_CHARS = 2200
_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}\Z", re.ASCII)


class Action(Enum):
    """RFC 3464 2.3.3, our four. A bounce is `FAILED`; `RELAYED` tells that the next hop promised no report."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


_STATUS_CLASS = {
    Action.FAILED: "5.0.0",
    Action.DELAYED: "4.0.0",
    Action.DELIVERED: "2.0.0",
    Action.RELAYED: "2.0.0",
    Action.EXPANDED: "2.0.0",
}
# RFC 3463 3.5: no answer from the host; the connection was bad; the directory (DNS) failed.
_DELAYED_AT = {
    Stage.DNS: "4.4.3",
    Stage.CONNECT: "4.4.1",
    Stage.BANNER: "4.4.2",
    Stage.EHLO: "4.4.2",
    Stage.STARTTLS: "4.7.0",
    Stage.LOCAL: "4.3.0",
}


@dataclass(frozen=True, slots=True)
class RecipientReport:
    """What a report says about one recipient. `reason` is our own sentence, `reply` the other side's words.

    `last_attempt` and `retry_until` are seconds since the epoch, 0.0 for not said. `is_smarthost`: the last attempt
    went to our smarthost. `is_forwarded`: the sender is a stranger whose message we only pass on.
    """

    recipient: Recipient
    action: Action
    enhanced: str = ""
    reason: str = ""
    reply: Reply | None = None
    host: str = ""
    stage: Stage | None = None
    is_expired: bool = False
    last_attempt: float = 0.0
    retry_until: float = 0.0
    attempts: int = 0
    is_smarthost: bool = False
    is_forwarded: bool = False

    @property
    def status(self) -> str:
        """RFC 3464 2.3.4: our enhanced code, else the reply's, else what is known without one."""
        for code in (self.enhanced, self.reply.enhanced if self.reply is not None else ""):
            if _STATUS.match(code):
                return code
        if self.action is Action.DELAYED and self.stage is not None:
            return _DELAYED_AT.get(self.stage, "4.0.0")
        return _STATUS_CLASS[self.action]


def needs_utf8(envelope: Envelope, reports: tuple[RecipientReport, ...]) -> bool:
    """Whether addresses need the utf-8 address type and the global media types (RFC 6533 3)."""
    return any(
        not one.recipient.mailbox.is_ascii
        or (one.recipient.orcpt is not None and one.recipient.orcpt.address_type.lower() == "utf-8")
        for one in reports
    ) or bool(envelope.reverse_path and not envelope.reverse_path.is_ascii)


def status_part(
    reporter: str, queue_id: str, envelope: Envelope, arrived_at: float, reports: tuple[RecipientReport, ...]
) -> bytes:
    """The whole part: the fields about the message, and a block for each recipient. CRLF line ends.

    `reporter` is our host name. UTF-8 only when `needs_utf8` says so, else ASCII.
    """
    is_utf8 = needs_utf8(envelope, reports)
    blocks = [list(_message_fields(reporter, envelope, arrived_at))]
    blocks += [list(_recipient_fields(one, queue_id)) for one in reports]
    return b"\r\n".join(b"".join(_folded(name, value, is_utf8) for name, value in block) for block in blocks)


def _message_fields(reporter: str, envelope: Envelope, arrived_at: float) -> Iterator[tuple[str, str]]:
    if envelope.envid is not None:
        yield "Original-Envelope-Id", envelope.envid  # decoded from xtext already (RFC 3464 2.2.1)
    yield "Reporting-MTA", f"dns; {reporter}"
    yield "Arrival-Date", formatdate(arrived_at, localtime=True)


def _recipient_fields(one: RecipientReport, queue_id: str) -> Iterator[tuple[str, str]]:
    """RFC 3464 2.3, in its order."""
    orcpt = one.recipient.orcpt
    if orcpt is not None:
        yield "Original-Recipient", f"{orcpt.address_type}; {orcpt.address}"
    yield "Final-Recipient", final_recipient(one.recipient.mailbox)
    yield "Action", one.action.value
    yield "Status", one.status
    if one.host:
        yield "Remote-MTA", f"dns; {_mta_name(one.host)}"
    if one.reply is not None:
        yield "Diagnostic-Code", f"smtp; {diagnostic(one.reply)}"
    elif one.reason:
        yield "Diagnostic-Code", f"x-mailserver; {one.reason}"
    if one.last_attempt:
        yield "Last-Attempt-Date", formatdate(one.last_attempt, localtime=True)
    yield "Final-Log-ID", queue_id
    if one.retry_until and one.action is Action.DELAYED:
        yield "Will-Retry-Until", formatdate(one.retry_until, localtime=True)


def _mta_name(host: str) -> str:
    """RFC 3464 2.1.2: a domain or an address literal, where our texts say `mx.example.net[192.0.2.1]`."""
    name = host.partition("[")[0] or host
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name
    return f"[{'IPv6:' if address.version == 6 else ''}{address}]"


def final_recipient(mailbox: Mailbox) -> str:
    """With its address type: `rfc822`, or `utf-8` where the local-part needs it (RFC 6533 3)."""
    return f"{'rfc822' if mailbox.is_ascii else 'utf-8'}; {mailbox}"


def diagnostic(reply: Reply) -> str:
    """A reply as one line; several lines are joined by blanks, the code stands once (RFC 3464 2.3.6)."""
    return str(reply)[:_MAX_DIAGNOSTIC_CHARS]


def _clean(value: str, is_utf8: bool) -> str:
    text = printable(value)
    return text if is_utf8 else text.encode("ascii", "replace").decode("ascii")


def _folded(name: str, value: str, is_utf8: bool) -> bytes:
    """One field with its CRLF, folded at blanks; a word that is too long for any line is cut into pieces."""
    lines: list[str] = []
    line = f"{name}:"
    for word in _words(_clean(value, is_utf8)):
        if len(line.encode("utf-8")) + 1 + len(word.encode("utf-8")) > MAX_LINE_OCTETS and line != f"{name}:":
            lines.append(line)
            line = ""
        line += f" {word}"
    lines.append(line)
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8")


def _words(text: str) -> Iterator[str]:
    for word in text.split(" "):
        while len(word.encode("utf-8")) > MAX_WORD_OCTETS:
            yield word[: MAX_WORD_OCTETS // 4]
            word = word[MAX_WORD_OCTETS // 4 :]
        if word:
            yield word
