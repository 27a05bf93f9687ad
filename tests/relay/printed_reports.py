"""The three reports that docs/bounces.md prints, made by the queue itself.

After a change that is meant: `python -m tests.relay.printed_reports` writes them into the document again.
"""

import os
import re
import tempfile
import time
from pathlib import Path

from mailserver.mail.envelope import Notify, Recipient
from mailserver.mail.outcome import Bounced, Deferred, Stage
from mailserver.mail.reply import Reply
from tests.fakes.directory import box
from tests.fakes.relay import HOUR, Office

DOCUMENT = Path(__file__).parents[2] / "docs" / "bounces.md"
HOST = "mx.example.net[192.0.2.25]"
_BLOCK = re.compile(r"(<!-- report: ([\w-]+) -->\n+```text\n)(.*?)(```\n)", re.DOTALL)

_HEADER = (
    "Received: from desk.example.org ([198.51.100.7])\r\n"
    "\tby mail.example.org with ESMTPSA id 0000000000001;\r\n"
    "\tSun, 15 Jun 2025 15:06:40 +0000\r\n"
    "From: Alice Archer <alice@example.org>\r\n"
    "To: {to}\r\n"
    "Subject: {subject}\r\n"
    "Date: Sun, 15 Jun 2025 15:06:38 +0000\r\n"
    "Message-ID: <20250615150638.1@desk.example.org>\r\n"
)
UNKNOWN = Bounced(
    "the host did not take the recipient",
    Stage.RCPT,
    "5.1.1",
    Reply(550, "5.1.1", ("<bob@example.net>: Recipient address rejected: User unknown in virtual mailbox table",)),
    HOST,
)
GREYLISTED = Deferred(
    "the host did not take the recipient",
    Stage.RCPT,
    Reply(450, "4.7.1", ("<bob@example.net>: Recipient address rejected: Greylisted, see you in 5 minutes",)),
    HOST,
)
TOO_LARGE = Bounced(
    "the message is too large for the host: 31.2 MB, and it takes 20.0 MB", Stage.EHLO, "5.3.4", host=HOST
)


def printed() -> dict[str, str]:
    """Each by its name, LF line ends. Dates are in UTC."""
    return {
        "mailbox-unknown": _report(UNKNOWN, "Invoice 2025-117", "bob@example.net"),
        "expired-after-greylisting": _report(GREYLISTED, "Invoice 2025-117", "bob@example.net"),
        "too-large-for-two": _report(TOO_LARGE, "Drawings of the new hall", "bob@example.net", "carol@example.net"),
    }


def _report(outcome: Bounced | Deferred, subject: str, *people: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        office = Office(Path(folder) / "state", answer=lambda route, recipient: outcome)
        content = _HEADER.format(to=",\r\n ".join(people), subject=subject) + "\r\nDear Bob,\r\n"
        office.put(
            *(Recipient(box(one), frozenset({Notify.FAILURE})) for one in people), content=content.encode("ascii")
        )
        office.settle()
        for _ in range(121):
            office.advance(HOUR)
        ((_, filed),) = office.mailboxes.filed
    # Without what the delivery put before it.
    return filed[filed.index(b"Date:") :].decode("ascii").replace("\r\n", "\n")


def in_utc() -> None:
    """Reports give local time, as people read it."""
    os.environ["TZ"] = "UTC"
    time.tzset()


def blocks(document: str) -> dict[str, str]:
    """What the document prints."""
    return {name: text for _, name, text, _ in _BLOCK.findall(document)}


if __name__ == "__main__":
    in_utc()
    made = printed()
    text = DOCUMENT.read_text()
    DOCUMENT.write_text(_BLOCK.sub(lambda found: found[1] + made[found[2]] + found[4], text))
