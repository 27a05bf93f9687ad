"""What is special to SMTP on the driver: content goes past the replies, and the disk holds its sender back."""

from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport

from mailserver.mail.peer import peer_from
from mailserver.net.deadlines import Timeouts
from mailserver.net.smtp_conversation import SmtpConversation
from mailserver.net.turns import Turns
from mailserver.session.smtp_profile import SMTP, SmtpSettings
from mailserver.session.smtp_server import SmtpSession
from tests.fakes.clock import FakeClock
from tests.fakes.smtp import World


class Nobody:
    def entered(self, conversation):
        pass

    def left(self, conversation):
        pass

    def holds(self, conversation, octets):
        pass


def test_a_sender_that_is_faster_than_the_disk_is_not_read_until_the_disk_has_caught_up():
    world, transport = World(), StringTransport()
    session = SmtpSession(SMTP, peer_from("192.0.2.1", 4711), SmtpSettings("mail.example.test"), world.doors)
    conversation = SmtpConversation(
        "smtp", session.machine, session, peer_from("192.0.2.1", 4711), Timeouts(300, 1800), FakeClock(), print,
        Nobody(), Turns(FakeClock()), None, is_implicit_tls=False,
    )  # fmt: skip
    conversation.makeConnection(transport)
    conversation.dataReceived(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n")
    world.committer.hold = Deferred()
    conversation.dataReceived(b"x" * 300_000)
    assert transport.producerState == "paused"
    hold, world.committer.hold = world.committer.hold, None
    hold.callback(None)
    assert transport.producerState == "producing"
    transport.clear()
    conversation.dataReceived(b"\r\n.\r\n")
    assert transport.value().startswith(b"250 ")
