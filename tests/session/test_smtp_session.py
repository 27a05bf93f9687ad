"""Commands and limits of an SMTP session."""

import dataclasses

import pytest

from mailserver.mail import reply as replies
from mailserver.session.smtp_profile import SMTP, SUBMISSION, SUBMISSIONS, SmtpSettings
from tests.fakes.smtp import SETTINGS, TLS, World, example_directory


def keywords(reply):
    return [line[4:] for line in reply.splitlines()[1:]]


BASIC = [
    "PIPELINING",
    "SIZE 50000000",
    "8BITMIME",
    "SMTPUTF8",
    "ENHANCEDSTATUSCODES",
    "DSN",
    "CHUNKING",
    "LIMITS RCPTMAX=100",
]


@pytest.mark.parametrize(
    ("profile", "tls", "expected"),
    [
        (SMTP, None, [*BASIC, "STARTTLS", "HELP"]),
        (SMTP, TLS, [*BASIC, "REQUIRETLS", "HELP"]),
        (dataclasses.replace(SMTP, offers_auth=True), None, [*BASIC, "STARTTLS", "HELP"]),
        (dataclasses.replace(SMTP, offers_auth=True), TLS, [*BASIC, "REQUIRETLS", "AUTH PLAIN LOGIN", "HELP"]),
        (dataclasses.replace(SMTP, offers_starttls=False), None, [*BASIC, "HELP"]),
        (SUBMISSION, None, [*BASIC, "STARTTLS", "HELP"]),
        (SUBMISSION, TLS, [*BASIC, "REQUIRETLS", "AUTH PLAIN LOGIN", "HELP"]),
        (SUBMISSIONS, TLS, [*BASIC, "REQUIRETLS", "AUTH PLAIN LOGIN", "HELP"]),
    ],
)
def test_ehlo_lists_what_is_true_now(profile, tls, expected):
    reply = World().connect(profile, tls=tls).say("EHLO client.example\r\n")
    assert reply.startswith("250-mail.example.test\r\n")
    assert keywords(reply) == expected


def test_limits_show_in_ehlo():
    """RFC 1870 4 and RFC 9422."""
    client = World().connect(settings=SmtpSettings("mail.example.test", max_message_octets=1000, max_recipients=7))
    listed = keywords(client.say("EHLO x\r\n"))
    assert "SIZE 1000" in listed
    assert "LIMITS RCPTMAX=7" in listed


def test_auth_is_not_listed_after_it_succeeded():
    client = World().connect(SUBMISSIONS)
    client.login()
    assert "AUTH PLAIN LOGIN" not in keywords(client.say("EHLO x\r\n"))


def test_helo_is_one_line():
    assert World().connect().say("HELO x\r\n") == "250 mail.example.test\r\n"


def test_the_banner_names_the_host_first():
    assert World().connect().banner == "220 mail.example.test ESMTP\r\n"


@pytest.mark.parametrize(
    ("line", "code"),
    [("NOOP", 250), ("RSET", 250), ("VRFY alice", 252), ("HELP", 214), ("EXPN staff", 502), ("QUIT", 221)],
)
def test_small_commands(line, code):
    assert World().connect().code(line) == code


def test_vrfy_tells_nothing_of_who_exists():
    client = World().connect()
    assert client.say("VRFY alice@example.test\r\n") == client.say("VRFY nobody@example.test\r\n")


def test_quit_closes():
    client = World().connect()
    client.say("QUIT\r\nNOOP\r\n")
    assert client.is_closed


def test_a_message_typed_by_hand_in_2003():
    """The dialogue of a tutorial: no EHLO, lower case, a space after the colon, no brackets, no header."""
    client = World().connect()
    replies_ = client.commands(
        "mail from: tony@outside.example",
        "rcpt to: alice@example.test",
        "data",
        "look ma no headers!\r\n.",
        "quit",
    )
    assert [int(reply[:3]) for reply in replies_] == [250, 250, 354, 250, 221]
    assert replies_[3] == "250 2.0.0 0000000000001 accepted\r\n"
    assert client.stored[0].as_filed().endswith(b"\r\n\r\nlook ma no headers!\r\n")


# --- MAIL and RCPT ----------------------------------------------------------------------------------------------------


def test_a_declared_size_beyond_the_limit_is_refused_at_mail():
    client = World().connect(settings=SmtpSettings("mail.example.test", max_message_octets=1000))
    assert client.say("MAIL FROM:<a@b.example> SIZE=1001\r\n").startswith("552 5.3.4")
    assert client.code("MAIL FROM:<a@b.example> SIZE=1000") == 250


def test_a_nearly_full_disk_is_told_before_data():
    world = World()
    world.committer.room = 500
    client = world.connect()
    assert client.say("MAIL FROM:<a@b.example> SIZE=501\r\n").startswith("452 4.3.1")
    assert client.code("MAIL FROM:<a@b.example> SIZE=500") == 250
    world.committer.room = -1
    client.code("RSET")
    assert client.say("MAIL FROM:<a@b.example>\r\n").startswith("452 4.3.1")


def test_a_disabled_account_takes_no_mail():
    directory = example_directory()
    bob = directory.accounts["bob@example.test"]
    directory.accounts["bob@example.test"] = dataclasses.replace(bob, is_enabled=False)
    client = World(directory).connect()
    client.code("MAIL FROM:<>")
    assert client.say("RCPT TO:<bob@example.test>\r\n").startswith("550 5.2.1")
    assert client.code("RCPT TO:<sales@example.test>") == 250  # the alias still reaches alice


def test_too_many_recipients_is_temporary_and_the_others_stay():
    """RFC 5321 4.5.3.1.10."""
    client = World().connect(settings=SmtpSettings("mail.example.test", max_recipients=2))
    client.code("MAIL FROM:<>")
    assert client.code("RCPT TO:<alice@example.test>") == 250
    assert client.code("RCPT TO:<bob@example.test>") == 250
    assert client.say("RCPT TO:<sales@example.test>\r\n").startswith("452 4.5.3")
    assert client.code("RCPT TO:<alice@example.test>") == 250  # once more, harmless
    assert client.code("DATA") == 354
    client.say("x\r\n.\r\n")
    assert [str(copy.mailbox) for copy in client.stored[0].acceptance.local] == [
        "alice@example.test",
        "bob@example.test",
    ]


def test_thousands_of_recipients_cost_one_line_and_leave_the_first_hundred():
    """A client that pipelines all its recipients is no abuser, and must get its first hundred through."""
    world = World()
    client = world.connect()
    client.code("MAIL FROM:<>")
    said = client.say("".join(f"RCPT TO:<alice+{n}@example.test>\r\n" for n in range(3_000)))
    assert said.count("452 4.5.3") == 2_900
    assert len(world.lines("refused")) == 1
    assert client.code("DATA") == 354
    assert client.say("x\r\n.\r\n").startswith("250")


def test_a_hundred_recipients_work():
    """RFC 5321 4.5.3.1.8."""
    client = World().connect()
    client.code("MAIL FROM:<>")
    assert {client.code(f"RCPT TO:<alice+{n}@example.test>") for n in range(100)} == {250}
    assert client.code("RCPT TO:<alice+100@example.test>") == 452
    client.code("DATA")
    assert client.say("x\r\n.\r\n").startswith("250")
    (stored,) = client.stored
    assert len(stored.acceptance.local) == 1  # one mailbox, one copy
    assert len(stored.acceptance.local[0].recipients) == 100


def test_data_without_any_valid_recipient_is_refused():
    client = World().connect()
    assert client.code("DATA") == 503
    client.code("MAIL FROM:<>")
    assert client.code("DATA") == 503
    client.code("RCPT TO:<nobody@example.test>")
    assert client.say("DATA\r\n").startswith("554 5.5.1")


def test_pipelined_transaction_with_one_bad_recipient():
    client = World().connect()
    sent = client.say(
        "EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<nobody@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n"
    )
    assert [line[:3] for line in sent.splitlines() if line[3] == " "] == ["250", "250", "550", "250", "354"]
    assert client.say("hi\r\n.\r\nQUIT\r\n").startswith("250")
    assert [str(copy.mailbox) for copy in client.stored[0].acceptance.local] == ["bob@example.test"]


# --- limits -----------------------------------------------------------------------------------------------------------


def test_errors_end_the_session_with_421():
    client = World().connect(settings=SmtpSettings("mail.example.test", max_errors=3))
    assert [client.code("FOO") for _ in range(3)] == [500, 500, 500]
    assert not client.is_closed
    assert client.say("FOO\r\n").startswith("421 4.7.0 Too many errors")
    assert client.is_closed


def test_guessing_at_addresses_counts_as_errors():
    client = World().connect(settings=SmtpSettings("mail.example.test", max_errors=3))
    client.code("MAIL FROM:<>")
    assert [client.code(f"RCPT TO:<u{n}@example.test>") for n in range(4)] == [550, 550, 550, 421]


def test_an_accepted_message_wipes_the_errors():
    client = World().connect(settings=SmtpSettings("mail.example.test", max_errors=3))
    for _ in range(3):
        assert [client.code("FOO") for _ in range(3)] == [500, 500, 500]
        assert client.send().startswith("250")


def test_commands_without_a_message_are_bounded():
    client = World().connect(settings=SmtpSettings("mail.example.test", max_commands=10))
    assert [client.code("NOOP") for _ in range(11)] == [250] * 10 + [421]
    assert client.is_closed


def test_chunks_of_a_message_are_no_commands_but_empty_ones_are():
    client = World().connect(settings=SmtpSettings("mail.example.test", max_commands=10))
    client.commands("MAIL FROM:<>", "RCPT TO:<alice@example.test>")
    assert [client.say("BDAT 1\r\nx")[:3] for _ in range(20)] == ["250"] * 20
    assert client.say("BDAT 0\r\n").startswith("421 4.7.0 Too many commands")


def test_last_words_of_the_driver():
    session = World().connect().session
    assert session.command_timed_out().code == 421
    assert session.content_timed_out().code == 421
    assert session.content_too_slow().code == 421
    assert session.shutting_down() == replies.SHUTTING_DOWN


# --- STARTTLS ---------------------------------------------------------------------------------------------------------


def test_starttls_forgets_the_transaction_and_the_hello():
    client = World().connect()
    client.say("EHLO before.example\r\n")
    assert client.code("STARTTLS") == 220
    assert client.code("RCPT TO:<alice@example.test>") == 503
    client.send()
    assert b"from [192.0.2.7] ([192.0.2.7])" in client.stored[0].acceptance.received
    assert b"with ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384)" in client.stored[0].acceptance.received


def test_commands_behind_starttls_end_the_session():
    client = World().connect()
    assert client.say("STARTTLS\r\nMAIL FROM:<a@b.example>\r\n").startswith("421 4.7.0")
    assert client.is_closed


def test_starttls_where_it_is_not_offered():
    client = World().connect(dataclasses.replace(SMTP, offers_starttls=False))
    assert client.code("STARTTLS") == 502
    assert World().connect(SUBMISSIONS).code("STARTTLS") == 503


# --- the log ----------------------------------------------------------------------------------------------------------


def test_refusals_are_logged_with_what_they_are_about():
    world = World()
    client = world.connect()
    client.say("MAIL FROM:<a@b.example>\r\nRCPT TO:<no@example.test>\r\nFOO\x1b bar\r\n")
    assert world.lines("refused") == [
        'refused [192.0.2.7:4711] command=RCPT reply="550 5.1.1 No such mailbox here"'
        " about=no@example.test reverse_path=<a@b.example>",
        'refused [192.0.2.7:4711] reply="500 5.5.1 Command not recognized" reverse_path=<a@b.example>',
    ]


def test_an_accepted_message_is_logged():
    world = World()
    client = world.connect()
    client.say("EHLO x\r\n")
    client.send(b"Message-ID: <1@b.example>\r\n\r\nx\r\n", to=("alice@example.test", "friend@example.test"))
    assert [event.line() for event in world.events] == [
        "0000000000001 accepted [192.0.2.7:4711] reverse_path=<far@outside.example>"
        " recipients=alice@example.test,friend@example.test size_octets=32 protocol=ESMTP message_id=<1@b.example>",
        "0000000000001 filed mailbox=alice@example.test recipient=alice@example.test",
        "0000000000001 queued recipients=friend@far.example",
    ]


def test_replies_never_carry_what_the_client_sent():
    """CWE-117: an echo is where controls come back."""
    client = World().connect()
    for line in ("\x1b[2J", "MAIL FROM:<\x1b@x>", "EHLO \x1b", "RCPT TO:<xyzzy@example.test>", "AUTH \x1b"):
        assert "\x1b" not in client.say(line + "\r\n")


def test_settings_default_to_the_documented_limits():
    assert (SETTINGS.max_recipients, SETTINGS.max_errors, SETTINGS.max_message_octets) == (100, 20, 50_000_000)
