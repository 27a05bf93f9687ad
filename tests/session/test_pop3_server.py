"""POP3 sessions: who gets in, what is promised at QUIT, what remains when the connection dies."""

import base64
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from mailserver.config import AuthWithoutTls
from mailserver.mail.peer import peer_from
from mailserver.maillog import LoginRefused, LoginSucceeded, MaildropClosed, Refused, Trouble
from mailserver.policy.limits import LoginGuesses
from mailserver.ports import Overloaded, StorageTrouble
from tests.fakes.awaiting import run, start
from tests.session.pop3_dialogue import ALICE, PASSWORD, STRANGER, World

LARGE = b"Subject: large\n\n" + (b".x\r\ny\n" * 400_000)


def capabilities(connection):
    first, *lines = connection.line("CAPA").decode().split("\r\n")
    assert first.startswith("+OK") and lines[-2:] == [".", ""]
    return lines[:-2]


# --- greeting and capabilities ----------------------------------------------------------------------------------------


def test_the_greeting_has_no_apop_stamp():
    """curl, s-nail and neomutt would try APOP and fail."""
    greeting = World().connect().greeting
    assert greeting == b"+OK mail.example.test POP3 server ready\r\n"
    assert b"<" not in greeting


BASE = ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER", "LANG"]
LOGIN = ["UTF8 USER", "USER", "SASL PLAIN LOGIN"]
LAST = ["IMPLEMENTATION mailserver"]


@pytest.mark.parametrize(
    ("auth", "peer", "before", "after"),
    [
        (AuthWithoutTls.NEVER, "127.0.0.1", [*BASE, "UTF8", "STLS", *LAST], [*BASE, *LOGIN, *LAST]),
        (AuthWithoutTls.LOOPBACK, "127.0.0.1", [*BASE, *LOGIN, "STLS", *LAST], [*BASE, *LOGIN, *LAST]),
        (AuthWithoutTls.LOOPBACK, "::1", [*BASE, *LOGIN, "STLS", *LAST], [*BASE, *LOGIN, *LAST]),
        (AuthWithoutTls.LOOPBACK, "192.0.2.7", [*BASE, "UTF8", "STLS", *LAST], [*BASE, *LOGIN, *LAST]),
        (AuthWithoutTls.ALWAYS, "192.0.2.7", [*BASE, *LOGIN, "STLS", *LAST], [*BASE, *LOGIN, *LAST]),
    ],
)
def test_capabilities_are_true_before_and_after_tls(auth, peer, before, after):
    connection = World(auth=auth).connect(peer_from(peer, 4711))
    assert capabilities(connection) == before
    assert connection.line("STLS") == b"+OK begin TLS\r\n"
    assert capabilities(connection) == after
    assert connection.line("STLS").startswith(b"-ERR")
    connection.log_in()
    assert capabilities(connection) == after


def test_stls_is_neither_told_nor_taken_without_a_certificate():
    connection = World(offers_tls=False).connect()
    assert "STLS" not in capabilities(connection)
    assert connection.line("STLS") == b"-ERR TLS is not available here\r\n"


@pytest.mark.parametrize("auth", [AuthWithoutTls.NEVER, AuthWithoutTls.LOOPBACK])
@pytest.mark.parametrize("line", ["USER alice@example.test", "PASS correct horse", "AUTH PLAIN", "AUTH"])
def test_no_password_in_clear_from_elsewhere(auth, line):
    world = World(auth=auth)
    connection = world.connect(STRANGER)
    answer = connection.line(line)
    assert answer.startswith(b"-ERR use STLS first") and b"[AUTH]" not in answer
    assert not world.directory.verified


def test_a_proxied_peer_is_never_loopback():
    connection = World().connect(peer_from("127.0.0.1", 1, is_proxied=True))
    assert connection.line("USER alice@example.test").startswith(b"-ERR use STLS")


def test_the_name_said_in_clear_does_not_survive_stls():
    """RFC 2595 4: nothing learnt before the handshake counts."""
    connection = World().connect()
    connection.line(f"USER {ALICE}")
    connection.line("STLS")
    assert connection.line(f"PASS {PASSWORD}").startswith(b"-ERR USER comes before")


def test_octets_behind_stls_end_the_session():
    world = World()
    connection = world.connect()
    answer = connection.say(b"STLS\r\nUSER alice@example.test\r\nPASS correct horse\r\n")
    assert answer.startswith(b"-ERR") and answer.count(b"\r\n") == 1
    assert connection.is_closed and not world.directory.verified
    assert isinstance(world.events[-1], Refused)


# --- login ------------------------------------------------------------------------------------------------------------


def test_login_is_logged_without_the_password():
    world = World()
    world.connect().log_in()
    assert world.events == [LoginSucceeded("127.0.0.1:4711", "pop3", ALICE, "USER")]


def test_login_over_tls_names_the_mechanism_and_the_version():
    world = World(auth=AuthWithoutTls.NEVER)
    connection = world.connect(STRANGER)
    connection.line("STLS")
    assert connection.line("AUTH PLAIN AGFsaWNlQGV4YW1wbGUudGVzdABjb3JyZWN0IGhvcnNl").startswith(b"+OK")
    assert world.events == [LoginSucceeded("192.0.2.7:4711", "pop3", ALICE, "PLAIN", "TLSv1.3")]


@pytest.mark.parametrize("password", ["two words", " leading", "trailing ", "  ", "grün"])
def test_a_password_is_taken_as_it_is(password):
    world = World()
    world.directory.passwords[ALICE] = password
    connection = world.connect()
    connection.line(f"USER {ALICE}")
    assert connection.line(f"PASS {password}").startswith(b"+OK")


def test_unknown_user_and_wrong_password_hear_the_same():
    world = World()
    answers = []
    for user in (ALICE, "nobody@example.test", "nobody", "x" * 300):
        connection = world.connect()
        answers.append((connection.line(f"USER {user}"), connection.line("PASS wrong")))
        world.clock.advance(100_000)
    assert len(set(answers)) == 1
    assert answers[0][1] == b"-ERR [AUTH] login name or password is wrong\r\n"
    assert len(world.directory.verified) == 4, "both took the same way"
    assert all(isinstance(event, LoginRefused) for event in world.events)


def test_after_a_wrong_password_the_name_is_asked_again():
    connection = World().connect()
    connection.line(f"USER {ALICE}")
    connection.line("PASS wrong")
    assert connection.line(f"PASS {PASSWORD}").startswith(b"-ERR USER comes before")
    assert connection.log_in().endswith(b"octets)\r\n")


def test_somebody_else_is_nobody():
    """PLAIN with another authorization identity: refused like a wrong password, and never looked up."""
    world = World()
    answer = world.connect().line("AUTH PLAIN Ym9iQGV4YW1wbGUudGVzdABhbGljZUBleGFtcGxlLnRlc3QAY29ycmVjdCBob3JzZQ==")
    assert answer.startswith(b"-ERR [AUTH]") and not world.directory.verified
    assert "wants to act for another" in world.events[0].line()


def test_too_many_wrong_passwords_end_the_session():
    world = World()
    connection = world.connect()
    pending = []
    for _ in range(5):
        connection.line(f"USER {ALICE}")
        connection.machine.receive(b"PASS wrong\r\n")
        event = connection.machine.next_event()
        deferred = start(connection.session.answer(event))
        world.clock.advance(60)
        answer = deferred.result
        pending.append((answer.then.value, connection.machine.reply(answer.reply)))
    assert [then for then, _ in pending] == ["continue"] * 4 + ["close"]
    assert pending[-1][1] == b"-ERR [AUTH] login name or password is wrong; goodbye\r\n"


def test_a_guesser_waits_before_the_password_is_looked_at_and_nobody_else_does():
    world = World()
    for _ in range(3):
        connection = world.connect(STRANGER)
        connection.line("STLS")
        connection.line(f"USER {ALICE}")
        connection.line("PASS wrong")
    guesser = world.connect(STRANGER)
    guesser.line("STLS")
    guesser.line(f"USER {ALICE}")
    guesser.machine.receive(b"PASS correct horse\r\n")
    looked_at = len(world.directory.verified)
    waiting = start(guesser.session.answer(guesser.machine.next_event()))
    assert not waiting.called and len(world.directory.verified) == looked_at
    assert world.connect().log_in().endswith(b"octets)\r\n"), "the account is not locked"
    world.clock.advance(1.0)
    assert waiting.called


def test_a_guesser_who_hangs_up_learns_nothing_and_holds_nothing():
    world = World()
    for _ in range(3):
        world.guesses.failed(STRANGER, world.clock.monotonic())
    guesser = world.connect(STRANGER)
    guesser.line("STLS")
    guesser.line(f"USER {ALICE}")
    guesser.machine.receive(b"PASS correct horse\r\n")
    waiting = start(guesser.session.answer(guesser.machine.next_event()))
    guesser.session.lost("connection lost")
    world.clock.advance(60)
    assert waiting.called and not world.directory.verified and not world.maildrops.in_use


def test_in_use_is_told_with_its_code_and_is_no_wrong_password():
    world = World()
    world.connect().log_in()
    second = world.connect()
    assert second.log_in().endswith(b"-ERR [IN-USE] another session has this mailbox open; please try again later\r\n")
    assert world.guesses.delay_s(STRANGER, 0) == 0
    assert second.line("STAT").startswith(b"-ERR log in first")


@pytest.mark.parametrize("trouble", [StorageTrouble("/var/mail/x: Input/output error"), Overloaded()])
def test_trouble_with_the_maildrop_is_temporary_and_tells_no_paths(trouble):
    world = World()
    world.maildrops.trouble["open"] = trouble
    answer = world.connect().log_in()
    assert b"-ERR [SYS/TEMP]" in answer and b"/var" not in answer
    assert isinstance(world.events[-1], LoginRefused)


def test_too_many_logins_at_once_are_temporary():
    world = World()

    async def verify(login, password, use):
        raise Overloaded

    world.directory.verify = verify
    assert b"-ERR [SYS/TEMP] too many logins" in world.connect().log_in()


# --- the maildrop -----------------------------------------------------------------------------------------------------


def logged_in(world, *messages):
    world.maildrops.add(ALICE, *messages)
    connection = world.connect()
    assert b"octets)" in connection.log_in()
    return connection


def test_deletions_count_at_quit_only_and_before_the_answer():
    world = World()
    connection = logged_in(world, b"a\n", b"b\n")
    connection.line("DELE 1")
    assert len(world.maildrops.boxes[ALICE]) == 2
    assert connection.line("QUIT") == b"+OK goodbye; 1 messages deleted\r\n"
    assert list(world.maildrops.boxes[ALICE].values()) == [b"b\n"]
    assert connection.is_closed and not world.maildrops.in_use
    assert b"+OK 1 messages" in world.connect().log_in(), "clients reconnect at once"


def test_a_dead_connection_deletes_nothing_and_frees_the_lock():
    world = World()
    connection = logged_in(world, b"a\n", b"b\n")
    connection.line("RETR 1")
    connection.line("DELE 1")
    connection.session.lost("connection lost")
    connection.session.lost("connection lost")
    assert len(world.maildrops.boxes[ALICE]) == 2 and not world.maildrops.in_use and not world.maildrops.seen
    assert world.events[-1] == MaildropClosed("127.0.0.1:4711", ALICE, 1, 0, 2, 3, "connection lost")


def delayed(world, connection, name):
    """Make the door `name` wait; the Deferred it waits for, and how to go on."""
    go_on = Deferred()
    target = world.maildrops if name == "open" else connection.session._transaction._maildrop
    real = getattr(target, name)

    async def wait(*args):
        result = await real(*args)
        await go_on
        return result

    setattr(target, name, wait)
    return go_on


def test_a_connection_that_dies_while_its_maildrop_is_opened_holds_no_lock():
    world = World()
    connection = world.connect()
    connection.line(f"USER {ALICE}")
    go_on = delayed(world, connection, "open")
    connection.machine.receive(b"PASS correct horse\r\n")
    waiting = start(connection.session.answer(connection.machine.next_event()))
    connection.session.lost("connection lost")
    assert world.maildrops.in_use
    go_on.callback(None)
    assert waiting.called and not world.maildrops.in_use
    assert world.words() == []


def test_a_connection_that_dies_after_its_quit_was_heard_is_updated_and_told_once():
    world = World()
    connection = logged_in(world, b"a\n", b"b\n")
    connection.line("DELE 1")
    go_on = delayed(world, connection, "update")
    connection.machine.receive(b"QUIT\r\n")
    waiting = start(connection.session.answer(connection.machine.next_event()))
    connection.session.lost("connection lost")
    assert not waiting.called
    go_on.callback(None)
    assert waiting.called and list(world.maildrops.boxes[ALICE].values()) == [b"b\n"]
    assert world.words() == ["login", "maildrop"]


def test_a_connection_that_dies_while_a_large_message_is_opened_leaves_no_file_open():
    world = World()
    connection = logged_in(world, LARGE)
    go_on = delayed(world, connection, "read")
    connection.machine.receive(b"RETR 1\r\n")
    start(connection.session.answer(connection.machine.next_event()))
    assert world.maildrops.open_files == 1
    connection.session.lost("connection lost")
    go_on.callback(None)
    assert world.maildrops.open_files == 0


def test_half_a_quit_is_no_quit():
    """RFC 1939 6, hazards: the QUIT counts with its line end."""
    world = World()
    connection = logged_in(world, b"a\n")
    assert connection.say(b"DELE 1\r\nQUIT").startswith(b"+OK")
    connection.session.lost("connection lost")
    assert len(world.maildrops.boxes[ALICE]) == 1


def test_commands_behind_quit_are_dropped():
    world = World()
    connection = logged_in(world, b"a\n", b"b\n")
    out = connection.say(b"DELE 1\r\nQUIT\r\nDELE 2\r\nQUIT\r\n")
    assert out.count(b"+OK") == 2
    assert list(world.maildrops.boxes[ALICE].values()) == [b"b\n"]


@pytest.mark.parametrize("trouble", [StorageTrouble("Input/output error"), Overloaded()])
def test_removals_that_fail_are_told_at_quit(trouble):
    world = World()
    connection = logged_in(world, b"a\n")
    connection.line("DELE 1")
    world.maildrops.trouble["update"] = trouble
    assert connection.line("QUIT") == b"-ERR [SYS/TEMP] some deleted messages were not removed\r\n"
    assert connection.is_closed and not world.maildrops.in_use
    assert any(isinstance(event, Trouble) for event in world.events)


def test_what_could_not_be_removed_is_told_and_the_rest_is_removed():
    world = World()
    names = world.maildrops.add(ALICE, b"a\n", b"b\n")
    world.maildrops.unremovable.add(names[0])
    connection = logged_in(world)
    connection.say(b"DELE 1\r\nDELE 2\r\n")
    assert connection.line("QUIT").startswith(b"-ERR")
    assert list(world.maildrops.boxes[ALICE]) == [names[0]]
    assert isinstance(world.events[-1], MaildropClosed)
    assert (world.events[-1].deleted, world.events[-1].remaining) == (1, 1)


def test_a_session_is_one_line_in_the_log():
    world = World()
    connection = logged_in(world, b"a\n", b"b\n", b"c\n")
    connection.say(b"RETR 1\r\nTOP 2 0\r\nDELE 1\r\nQUIT\r\n")
    assert world.events[1:] == [MaildropClosed("127.0.0.1:4711", ALICE, 2, 1, 2, 6)]


def test_retrieved_messages_are_seen_and_looked_at_ones_are_not():
    world = World()
    connection = logged_in(world, b"a\n", b"b\n")
    connection.say(b"RETR 1\r\nTOP 2 99999999\r\nQUIT\r\n")
    assert world.maildrops.seen == {"id1"}


def test_a_message_that_is_gone_is_an_error_and_not_the_end():
    world = World()
    connection = logged_in(world, b"a\n", b"b\n")
    del world.maildrops.boxes[ALICE]["id1"]
    assert connection.line("RETR 1") == b"-ERR another program has removed this message\r\n"
    assert connection.line("TOP 1 0").startswith(b"-ERR")
    assert connection.line("RETR 2") == b"+OK 3 octets\r\nb\r\n.\r\n"
    assert connection.line("STAT") == b"+OK 2 6\r\n"
    assert connection.say(b"DELE 1\r\nQUIT\r\n").endswith(b"+OK goodbye; 1 messages deleted\r\n")


@pytest.mark.parametrize("trouble", [StorageTrouble("/x: Input/output error"), Overloaded()])
def test_a_message_that_cannot_be_read_now_is_temporary(trouble):
    world = World()
    connection = logged_in(world, b"a\n")
    world.maildrops.trouble["read"] = trouble
    answer = connection.line("RETR 1")
    assert answer.startswith(b"-ERR [SYS/TEMP]") and b"/x" not in answer


def test_a_wrong_listed_size_is_sent_right_and_listed_right_next_time():
    world = World()
    world.maildrops.add(ALICE, b"a\n")
    world.maildrops.known_sizes["id1"] = 99
    connection = logged_in(world)
    assert connection.line("LIST 1") == b"+OK 1 99\r\n"
    assert connection.line("RETR 1") == b"+OK 3 octets\r\na\r\n.\r\n"
    assert connection.line("LIST 1") == b"+OK 1 99\r\n", "within a session nothing moves"
    connection.line("QUIT")
    assert b"(3 octets)" in world.connect().log_in()


def test_utf8_headers_go_out_as_they_are_with_and_without_utf8():
    """Deviation from RFC 6856: no downgrade, so that sizes stay exact."""
    message = "Subject: Grüße\n\nhallo\n".encode()
    for utf8 in (False, True):
        world = World()
        world.maildrops.add(ALICE, message)
        connection = world.connect()
        if utf8:
            assert connection.line("UTF8") == b"+OK UTF8 enabled\r\n"
        connection.log_in()
        sent = message.replace(b"\n", b"\r\n")
        assert connection.line("RETR 1") == b"+OK %d octets\r\n" % len(sent) + sent + b".\r\n"


@pytest.mark.parametrize("lines", [0, 1, 99999999])
def test_top_is_the_beginning_of_retr(lines):
    for message in (LARGE, b"Subject: small\n\n.a\n.b\n", b"no header end", b""):
        world = World()
        connection = logged_in(world, message)
        retrieved = connection.line("RETR 1").partition(b"\r\n")[2]
        top = connection.line(f"TOP 1 {lines}").partition(b"\r\n")[2]
        assert top.endswith(b".\r\n") and retrieved.startswith(top[:-3])
        assert (top == retrieved) == (lines == 99999999 or len(message) < 20)


def test_a_large_message_goes_out_in_pieces_and_counts_its_octets():
    world = World()
    connection = logged_in(world, LARGE, b"next\n")
    sent = LARGE.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    out = connection.say(b"LIST 1\r\nRETR 1\r\nRETR 2\r\nDELE 1\r\n")
    head, _, rest = out.partition(b"octets\r\n")
    assert head == b"+OK 1 %d\r\n+OK %d " % (len(sent), len(sent))
    body, _, rest = rest.partition(b"\r\n.\r\n")
    assert body.replace(b"\n..", b"\n.") + b"\r\n" == sent
    assert rest.startswith(b"+OK 6 octets\r\nnext")
    assert world.maildrops.open_files == 0


@pytest.mark.parametrize("count", [3999, 4000, 4001, 8000, 12_345])
def test_long_listings_are_whole_and_without_what_is_deleted(count):
    """Whether they go out in pieces or not; with a whole piece of deleted messages too."""
    world = World()
    connection = logged_in(world, *[b"x\n"] * count)
    gone = {1, 17, count, *range(4001, min(8001, count))}
    for number in gone:
        connection.say(b"DELE %d\r\n" % number)
    left = [number for number in range(1, count + 1) if number not in gone]
    head = b"+OK %d messages (%d octets)\r\n" % (len(left), 3 * len(left))
    assert connection.say(b"LIST\r\n") == head + b"".join(b"%d 3\r\n" % number for number in left) + b".\r\n"
    told = connection.say(b"UIDL\r\n").split(b"\r\n")
    assert told[0] == b"+OK unique-ids follow" and told[-2:] == [b".", b""]
    names = list(world.maildrops.boxes[ALICE])
    assert told[1:-2] == [f"{number} {names[number - 1]}".encode() for number in left]


def test_top_of_a_large_message_reads_no_more_than_it_needs():
    world = World()
    connection = logged_in(world, LARGE)
    connection.machine.receive(b"TOP 1 2\r\n")
    answer = run(connection.session.answer(connection.machine.next_event()))
    pieces = answer.reply.pieces
    assert run(pieces.next_piece()) == b"Subject: large\r\n\r\n..x\r\ny\r\n"
    world.maildrops.trouble["next_piece"] = StorageTrouble("must not be asked")
    assert run(pieces.next_piece()) == b".\r\n"
    assert run(pieces.next_piece()) == b""
    assert world.maildrops.open_files == 0


def test_a_connection_that_dies_in_a_large_message_leaves_no_file_open():
    world = World()
    connection = logged_in(world, LARGE)
    connection.machine.receive(b"RETR 1\r\n")
    answer = run(connection.session.answer(connection.machine.next_event()))
    run(answer.reply.pieces.next_piece())
    assert world.maildrops.open_files == 1
    connection.session.lost("connection lost")
    assert world.maildrops.open_files == 0 and not world.maildrops.in_use
    assert run(answer.reply.pieces.next_piece()) == b""
    assert not world.maildrops.seen


def test_a_connection_that_dies_during_a_read_teaches_nobody_a_wrong_size():
    """The read that was under way comes back cut short; that is no news about the file."""
    for rest in (b"", b"what was read meanwhile"):
        world = World()
        connection = logged_in(world, LARGE)
        connection.machine.receive(b"RETR 1\r\n")
        pieces = run(connection.session.answer(connection.machine.next_event())).reply.pieces
        run(pieces.next_piece())
        read: Deferred[bytes] = Deferred()
        pieces._content.next_piece = lambda read=read: read
        waiting = start(pieces.next_piece())
        connection.session.lost("connection lost")
        read.callback(rest)
        assert waiting.result == b""
        assert not world.maildrops.known_sizes


def test_a_large_message_that_breaks_off_never_gets_a_terminator():
    world = World()
    connection = logged_in(world, LARGE)
    connection.machine.receive(b"RETR 1\r\n")
    pieces = run(connection.session.answer(connection.machine.next_event())).reply.pieces
    run(pieces.next_piece())
    world.maildrops.trouble["next_piece"] = StorageTrouble("Input/output error")
    with pytest.raises(StorageTrouble):
        run(pieces.next_piece())


LINES = st.one_of(
    st.sampled_from(
        [b"STAT", b"LIST", b"UIDL 1", b"RETR 1", b"TOP 1 1", b"DELE 2", b"RSET", b"CAPA", b"LANG", b"UTF8"]
    ),
    st.sampled_from(
        [b"USER alice@example.test", b"PASS correct horse", b"AUTH PLAIN", b"AUTH LOGIN", b"*", b"AGEAYg=="]
    ),
    st.binary(max_size=20).filter(lambda line: b"\n" not in line and line[:4].upper() not in (b"QUIT", b"STLS")),
)


@settings(max_examples=200, deadline=None)
@given(st.booleans(), st.lists(LINES, max_size=20))
def test_whatever_is_said_every_line_gets_exactly_one_answer(is_logged_in, lines):
    world = World(max_errors=1000)
    world.guesses = LoginGuesses(slow_after=1000, max_failures=1000, answered_after_s=(0.0, 0.0))
    connection = logged_in(world, b"one\n", b"two\n") if is_logged_in else world.connect()
    for line in lines:
        answer = connection.say(line + b"\r\n")
        first, _, rest = answer.partition(b"\r\n")
        assert first.startswith((b"+OK ", b"-ERR ", b"+ ")) and len(first) <= 510
        assert rest == b"" or rest.endswith(b".\r\n")
        assert first.startswith(b"+OK") or rest == b""
    assert world.maildrops.boxes.get(ALICE, {}).keys() == ({"id1", "id2"} if is_logged_in else set())


# --- bad input and the end --------------------------------------------------------------------------------------------


def test_too_many_errors_end_the_session():
    connection = World(max_errors=3).connect()
    assert connection.say(b"x\r\ny\r\nz\r\nQUIT\r\n").endswith(b"-ERR too many errors; goodbye\r\n")


def test_responses_that_follow_no_mechanism_count_as_errors():
    connection = World(max_errors=3).connect()
    assert connection.say(b"AUTH PLAIN =\r\n" * 3).endswith(b"-ERR too many errors; goodbye\r\n")
    assert connection.is_closed


def test_a_silent_client_is_told_nothing():
    """RFC 1939 3: the connection is closed without a response."""
    assert World().connect().session.timed_out() is None


def test_a_server_that_stops_says_so():
    assert World().connect().session.shutting_down().encode().startswith(b"-ERR [SYS/TEMP]")


def test_no_answer_carries_controls_of_the_client():
    connection = World().connect()
    out = connection.say(b"\x1b[31mUSER\r\nUSER \x1b]0;x\r\nLANG \x07\r\nAUTH \x1b\r\n")
    assert out.replace(b"\r\n", b"").decode().isprintable()
    assert out.count(b"\r\n") == 4


# --- the account changes while a session is open ----------------------------------------------------------------------


def _disable(directory):
    directory.accounts[ALICE] = replace(directory.accounts[ALICE], is_enabled=False)


CHANGES = {
    "removed": lambda directory: directory.accounts.pop(ALICE),
    "disabled": _disable,
    "another password": lambda directory: directory.passwords.update({ALICE: "new"}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("command", ["RETR 1", "LIST", "UIDL", "NOOP", "QUIT"])
def test_an_open_session_ends_with_what_the_operator_changes_and_deletes_nothing(command, change):
    """Somebody has the password, the operator takes it from him: that must not wait for him to hang up."""
    world = World()
    world.maildrops.add(ALICE, b"Subject: 1\n\nx\n")
    connection = world.connect()
    connection.log_in()
    assert connection.line("DELE 1").startswith(b"+OK")
    change(world.directory)
    assert connection.line(command).startswith(b"-ERR this login counts no longer")
    assert connection.is_closed
    connection.session.lost("closed")
    assert world.events[-1].deleted == 0
    if change is not CHANGES["another password"]:
        return
    world.directory.passwords[ALICE] = PASSWORD
    again = world.connect()
    again.log_in()
    assert again.line("STAT").startswith(b"+OK 1 ")


def test_a_login_name_of_thousands_of_octets_is_logged_in_part():
    world = World()
    connection = world.connect()
    claim = base64.b64encode(b"\0" + b"x" * 8000 + b"\0wrong").decode()
    assert connection.line("AUTH PLAIN").startswith(b"+ ")
    assert connection.line(claim).startswith(b"-ERR [AUTH]")
    assert [len(event.login) for event in world.events if isinstance(event, LoginRefused)] == [255]
