"""What sessions tell the journal, beyond the lines of the log."""

from mailserver.maillog import Erased, Fetched
from tests.fakes.smtp import World as SmtpWorld
from tests.session.pop3_dialogue import ALICE, LOOPBACK, World
from tests.session.test_pop3_server import logged_in

LARGE = b"Subject: big\n\n" + b"x" * 70 * 20_000 + b"\n"


def test_an_accepted_message_is_told_with_hello_and_subject():
    client = SmtpWorld().connect()
    client.say("EHLO client.example\r\n")
    client.send(b"subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n =?utf-8?q?_an_alle?=\r\n\r\nhello\r\n")
    [accepted] = [event for event in client.world.events if event.word == "accepted"]
    assert accepted.hello == "client.example"
    assert accepted.subject == b"=?utf-8?q?gr=C3=BC=C3=9Fe?= =?utf-8?q?_an_alle?="


def test_an_endless_subject_is_cut():
    client = SmtpWorld().connect()
    client.send(b"Subject: " + b"y" * 5000 + b"\r\n\r\nhello\r\n")
    [accepted] = [event for event in client.world.events if event.word == "accepted"]
    assert accepted.subject == b"y" * 500


def test_a_refused_content_is_told_with_its_recipients():
    client = SmtpWorld().connect()
    client.say("EHLO client.example\r\n")
    client.say("MAIL FROM:<far@outside.example>\r\n")
    client.say("RCPT TO:<alice@example.test>\r\n")
    client.say("RCPT TO:<bob@example.test>\r\n")
    client.say("DATA\r\n")
    client.say("bare\nnewline\r\n.\r\n")
    [refused] = [event for event in client.world.events if event.word == "refused"]
    assert refused.recipients == ("alice@example.test", "bob@example.test")
    assert (refused.service, refused.hello) == ("smtp", "client.example")


def test_a_refused_recipient_is_told_with_the_service():
    client = SmtpWorld().connect()
    client.say("EHLO scanner.example\r\n")
    client.say("MAIL FROM:<far@outside.example>\r\n")
    client.say("RCPT TO:<nobody@example.test>\r\n")
    [refused] = [event for event in client.world.events if event.word == "refused"]
    assert (refused.about, refused.reverse_path) == ("nobody@example.test", "<far@outside.example>")
    assert (refused.service, refused.hello, refused.recipients) == ("smtp", "scanner.example", ())


def test_pop3_tells_each_message_that_was_fetched_and_deleted():
    world = World()
    connection = logged_in(world, b"a\n", LARGE, b"c\n")
    first, second, _ = world.maildrops.boxes[ALICE]
    for line in ("RETR 1", "RETR 2", "TOP 3 0", "DELE 1", "DELE 2", "RSET", "DELE 1"):
        connection.line(line)
    peer = str(LOOPBACK)
    told = [(event.file, event.login, event.peer) for event in world.events.history if isinstance(event, Fetched)]
    assert told[:2] == [(first, ALICE, peer), (second, ALICE, peer)]
    assert not [event for event in world.events.history if isinstance(event, Erased)]
    connection.line("QUIT")
    assert [event for event in world.events.history if isinstance(event, Erased)] == [Erased(peer, ALICE, first)]


def test_a_look_at_the_beginning_is_no_fetch_and_a_top_of_everything_is():
    world = World()
    connection = logged_in(world, b"Subject: a\n\none\ntwo\n")
    connection.line("TOP 1 1")
    assert world.events.history == []
    connection.line("TOP 1 99999999")
    assert [event.word for event in world.events.history] == ["fetched"]


def test_what_could_not_be_deleted_is_not_told_as_deleted():
    world = World()
    connection = logged_in(world, b"a\n")
    [name] = world.maildrops.boxes[ALICE]
    world.maildrops.unremovable.add(name)
    connection.line("DELE 1")
    connection.line("QUIT")
    assert world.events.history == []
