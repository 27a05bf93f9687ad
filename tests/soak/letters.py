"""The messages of the soak: how they are made, and what a found copy tells. Pure.

Each sending of a message is a *try* with its own number in the header, so a copy tells from which try it came: a try
puts at most one copy into a mailbox, however often the client had to send the message again.

A remote recipient is asked for only by its own message, and its local-part tells the next hop what to do with it
(`sink`): `n17.late.2@remote.test`.
"""

import hashlib
import re
from dataclasses import dataclass

LOCAL_DOMAIN, REMOTE_DOMAIN = "example.test", "remote.test"
# Who sends to port 25; reports about its mail go to the next hop, too.
STRANGER = "ann@elsewhere.test"

_LINE = b"%d 0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ\n"
_NUMBER, _TRY, _SUM, _END = b"\nX-Number: ", b"\nX-Try: ", b"\nX-Sum: ", b"end of the message\n"
_QUEUE_ID = re.compile(rb"\tid ([A-Z0-9]+)")
_REPORT_FROM = b"From: Mail Delivery System <"
_REPORT_ID = re.compile(rb"^Message-ID: <([A-Z0-9]+)@", re.MULTILINE)
_BLOCK = re.compile(rb"\n\n(?=(?:Original|Final)-Recipient:)")
_FIELD = re.compile(rb"^(Final-Recipient|Action|Final-Log-ID): (?:rfc822; )?(.+)$", re.MULTILINE)


class Damaged(Exception):
    """A copy that is not whole, or not what was sent."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A copy of a message. `queue_id` is what our Received field names, empty before our server had it."""

    number: int
    attempt: int
    queue_id: str


@dataclass(frozen=True, slots=True)
class Told:
    """What a report says about one recipient. `number` and `attempt` are of the message that it is about."""

    number: int
    attempt: int
    queue_id: str
    recipient: str
    action: str


@dataclass(frozen=True, slots=True)
class Report:
    """A copy of a delivery report."""

    report_id: str
    about: tuple[Told, ...]


def content_of(number: int, attempt: int, size_octets: int, sender: str) -> bytes:
    """One try of a message, CRLF line ends; some lines begin with a dot."""
    body = (b"." * (number % 3) + _LINE % number) * (size_octets // 66 + 1)
    digest = hashlib.sha256(body).hexdigest().encode()
    header = b"From: <%b>\nSubject: soak %d\nMessage-ID: <%d@soak.test>\nDate: Mon, 05 Jan 2026 10:00:00 +0000" % (
        sender.encode(),
        number,
        number,
    )
    marks = _NUMBER + b"%d" % number + _TRY + b"%d" % attempt + _SUM + digest + b"\n\n"
    return (header + marks + body + _END).replace(b"\n", b"\r\n")


def read_copy(octets: bytes) -> Letter | Report:
    """What this copy is. Raises `Damaged`. Line ends may be LF or CRLF."""
    octets = octets.replace(b"\r\n", b"\n")
    header = octets.partition(b"\n\n")[0]
    return _report(octets) if b"\n" + _REPORT_FROM in b"\n" + header else _letter(octets)


def number_of(octets: bytes) -> tuple[int, int]:
    """Number and try in a header, also of one that is not whole or given back in a report; (-1, -1) for none."""
    values = [octets.replace(b"\r\n", b"\n").partition(mark)[2].partition(b"\n")[0] for mark in (_NUMBER, _TRY)]
    return (int(values[0]), int(values[1])) if all(value.isdigit() for value in values) else (-1, -1)


def _letter(octets: bytes) -> Letter:
    number, attempt = number_of(octets)
    if number < 0:
        raise Damaged(f"no message of ours: {octets[:80]!r}")
    about = f"message {number}, try {attempt},"
    digest = octets.partition(_SUM)[2].partition(b"\n")[0]
    body = octets.partition(_SUM)[2].partition(b"\n\n")[2]
    if not body.endswith(_END):
        raise Damaged(f"{about} is cut off")
    if hashlib.sha256(body[: -len(_END)]).hexdigest().encode() != digest:
        raise Damaged(f"{about} has other octets than were sent")
    queue_id = _QUEUE_ID.search(octets.partition(_NUMBER)[0])
    return Letter(number, attempt, queue_id[1].decode() if queue_id else "")


def _report(octets: bytes) -> Report:
    report_id = _REPORT_ID.search(octets)
    if report_id is None or not octets.endswith(b"--\n"):
        raise Damaged("a report is cut off")
    number, attempt = number_of(octets)
    told = []
    for block in _BLOCK.split(octets)[1:]:
        fields = {name.decode(): value.decode() for name, value in _FIELD.findall(block.partition(b"\n\n")[0])}
        try:
            one = Told(number, attempt, fields["Final-Log-ID"], fields["Final-Recipient"], fields["Action"])
        except KeyError as missing:
            raise Damaged(f"report {report_id[1].decode()} lacks {missing}") from None
        told.append(one)
    if not told:
        raise Damaged(f"report {report_id[1].decode()} is about nobody")
    return Report(report_id[1].decode(), tuple(told))
