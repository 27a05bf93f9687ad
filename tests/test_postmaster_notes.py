"""A mail from the server to its postmaster: through the queue, by nobody, once."""

from email import message_from_bytes
from email.policy import SMTP

import pytest

from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Body, Notify
from mailserver.mail.trace import OUR_OWN
from mailserver.ports import Overloaded, StorageFull, StorageTrouble
from mailserver.postmaster_notes import PostmasterNotes
from mailserver.relay.bounce import Reporter
from tests.fakes.awaiting import run
from tests.fakes.clock import Counter, FakeClock
from tests.fakes.committer import MemoryCommitter

POSTMASTER = Mailbox("postmaster", "example.org")


@pytest.fixture
def committer():
    return MemoryCommitter()


@pytest.fixture
def events():
    return []


@pytest.fixture
def notes(committer, events):
    reporter = Reporter("mail.example.org", POSTMASTER, lambda content: b"Signed: yes\r\n" + content)
    return PostmasterNotes(reporter, committer, Counter(), FakeClock(), events.append)


def test_a_note_waits_in_the_queue_for_the_postmaster(notes, committer, events):
    assert run(notes.send("Grüße,\nit is late", "Zeit läuft.\nA line.\n"))
    (stored,) = committer.stored
    acceptance, content = stored.acceptance, stored.content
    assert acceptance.envelope.reverse_path is None
    assert [(one.mailbox, one.notify) for one in acceptance.remote] == [(POSTMASTER, frozenset({Notify.NEVER}))]
    assert acceptance.source == OUR_OWN
    assert acceptance.envelope.size_octets == len(content)
    assert acceptance.envelope.body is Body.SEVENBIT
    assert content.startswith(b"Signed: yes\r\n")
    assert b"\n" not in content.replace(b"\r\n", b"")
    message = message_from_bytes(content, policy=SMTP)
    assert message["From"] == '"Mail server mail.example.org" <postmaster@example.org>'
    assert message["To"] == "postmaster@example.org"
    assert message["Subject"] == "Grüße, it is late"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"].startswith("<") and message["Date"]
    assert message.get_content().splitlines() == ["Zeit läuft.", "A line."]
    (event,) = events
    assert event.line() == f"{acceptance.queue_id} report action=note recipient=postmaster@example.org"


@pytest.mark.parametrize("trouble", [StorageFull("full"), StorageTrouble("broken"), Overloaded("busy")])
def test_a_note_that_cannot_be_written_is_told(notes, committer, events, trouble):
    committer.trouble = trouble
    assert not run(notes.send("It is late", "Time runs.\n"))
    (event,) = events
    assert "a note to the postmaster" in event.line()
    assert "it said: It is late" in event.line()
