"""Submission: who may log in, when, as whom; what is added to a message and what is removed."""

import dataclasses
import ipaddress

import pytest

from mailserver.config.schema import AuthWithoutTls
from mailserver.ports import Overloaded, Then
from mailserver.session.smtp_profile import SMTP, SUBMISSION, SUBMISSIONS, SmtpSettings
from tests.fakes.directory import box
from tests.fakes.smtp import TLS, World, example_directory, plain

GOOD = plain("alice@example.test", "correct horse")


def submitting(world=None, **options):
    """A client that has logged in on port 465."""
    client = (world or World()).connect(SUBMISSIONS, **options)
    client.say("EHLO client.example\r\n")
    client.login()
    return client


# --- AUTH -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        ([f"AUTH PLAIN {GOOD}"], [235]),
        ([f"auth plain {GOOD}"], [235]),
        (["AUTH PLAIN", GOOD], [334, 235]),
        ([f"AUTH PLAIN {plain('alice@example.test', 'correct horse', authzid='alice@example.test')}"], [235]),
        ([f"AUTH PLAIN {plain('Alice@Example.TEST', 'correct horse')}"], [235]),
        (["AUTH LOGIN", "YWxpY2VAZXhhbXBsZS50ZXN0", "Y29ycmVjdCBob3JzZQ=="], [334, 334, 235]),
        (["AUTH LOGIN YWxpY2VAZXhhbXBsZS50ZXN0", "Y29ycmVjdCBob3JzZQ=="], [334, 235]),
        ([f"AUTH PLAIN {plain('alice@example.test', 'wrong')}"], [535]),
        ([f"AUTH PLAIN {plain('alice@example.test', '')}"], [535]),
        ([f"AUTH PLAIN {plain('nobody@example.test', 'correct horse')}"], [535]),
        ([f"AUTH PLAIN {plain('', '')}"], [535]),
        ([f"AUTH PLAIN {plain('alice@example.test', 'correct horse', authzid='bob@example.test')}"], [535]),
        (["AUTH PLAIN", "*"], [334, 501]),
        (["AUTH LOGIN", "*"], [334, 501]),
        (["AUTH PLAIN ="], [501]),
        (["AUTH PLAIN !!!"], [501]),
        (["AUTH PLAIN", "!!!"], [334, 501]),
        (["AUTH PLAIN", ""], [334, 501]),
        (["AUTH LOGIN", "!!!"], [334, 501]),
        (["AUTH LOGIN", "/w=="], [334, 501]),  # not UTF-8
        (["AUTH PLAIN AGEA/w=="], [501]),
        (["AUTH CRAM-MD5"], [504]),
        (["AUTH"], [504]),
        ([f"AUTH PLAIN {GOOD}", f"AUTH PLAIN {GOOD}"], [235, 503]),
        ([f"AUTH PLAIN {GOOD}", "MAIL FROM:<alice@example.test>", f"AUTH PLAIN {GOOD}"], [235, 250, 503]),
        (["AUTH PLAIN !!!", f"AUTH PLAIN {GOOD}"], [501, 235]),
    ],
)
def test_auth(lines, codes):
    client = World().connect(SUBMISSIONS)
    assert [client.code(line) for line in lines] == codes


def test_login_challenges_are_the_words_that_old_clients_look_for():
    client = World().connect(SUBMISSIONS)
    assert client.say("AUTH LOGIN\r\n") == "334 VXNlcm5hbWU6\r\n"
    assert client.say("YWxpY2U=\r\n") == "334 UGFzc3dvcmQ6\r\n"
    assert World().connect(SUBMISSIONS).say("AUTH PLAIN\r\n") == "334 \r\n"


def test_unknown_login_and_wrong_password_get_the_same_words():
    client = World().connect(SUBMISSIONS)
    wrong = client.say(f"AUTH PLAIN {plain('alice@example.test', 'x')}\r\n")
    assert wrong.startswith("535 5.7.8")
    assert client.say(f"AUTH PLAIN {plain('nobody@example.test', 'x')}\r\n") == wrong


@pytest.mark.parametrize(
    ("profile", "allowed", "address", "tls", "code"),
    [
        (SUBMISSION, AuthWithoutTls.NEVER, "192.0.2.7", None, 538),
        (SUBMISSION, AuthWithoutTls.NEVER, "127.0.0.1", None, 538),
        (SUBMISSION, AuthWithoutTls.LOOPBACK, "127.0.0.1", None, 235),
        (SUBMISSION, AuthWithoutTls.LOOPBACK, "::1", None, 235),
        (SUBMISSION, AuthWithoutTls.LOOPBACK, "192.0.2.7", None, 538),
        (SUBMISSION, AuthWithoutTls.ALWAYS, "192.0.2.7", None, 235),
        (SUBMISSION, AuthWithoutTls.NEVER, "192.0.2.7", TLS, 235),
        (SMTP, AuthWithoutTls.ALWAYS, "127.0.0.1", TLS, 502),
        (dataclasses.replace(SMTP, offers_auth=True), AuthWithoutTls.NEVER, "192.0.2.7", None, 538),
        (dataclasses.replace(SMTP, offers_auth=True), AuthWithoutTls.NEVER, "192.0.2.7", TLS, 235),
    ],
)
def test_when_auth_may_be_used(profile, allowed, address, tls, code):
    settings = SmtpSettings("mail.example.test", auth_without_tls=allowed)
    client = World().connect(profile, settings=settings, address=address, tls=tls)
    listed = "AUTH PLAIN LOGIN" in client.say("EHLO x\r\n")
    assert client.code(f"AUTH PLAIN {GOOD}") == code
    assert listed is (code == 235)


def test_a_password_sent_too_early_is_never_looked_at():
    world = World()
    world.connect(SUBMISSION).code(f"AUTH PLAIN {GOOD}")
    assert world.directory.verified == []


def test_mail_before_auth():
    client = World().connect(SUBMISSION)
    assert client.say("MAIL FROM:<alice@example.test>\r\n").startswith("530 5.7.0 Must issue a STARTTLS command first")
    client.code("STARTTLS")
    assert client.say("MAIL FROM:<alice@example.test>\r\n").startswith("530 5.7.0 Authentication required")


def test_starttls_forgets_the_login():
    settings = SmtpSettings("mail.example.test", auth_without_tls=AuthWithoutTls.ALWAYS)
    client = World().connect(SUBMISSION, settings=settings)
    client.login()
    client.code("STARTTLS")
    assert client.code("MAIL FROM:<alice@example.test>") == 530
    client.login()
    assert client.code("MAIL FROM:<alice@example.test>") == 250


def test_an_account_that_was_removed_or_disabled_since_its_login_sends_nothing():
    world = World()
    client = submitting(world)
    alice = world.directory.accounts["alice@example.test"]
    world.directory.accounts["alice@example.test"] = dataclasses.replace(alice, is_enabled=False)
    assert client.code("MAIL FROM:<alice@example.test>") == 530


def test_an_account_that_got_another_password_since_its_login_sends_nothing():
    """Whoever stole the old one must not go on sending for as long as he keeps his connection."""
    world = World()
    client = submitting(world)
    world.directory.passwords["alice@example.test"] = "another"
    assert client.code("MAIL FROM:<alice@example.test>") == 530


def test_too_many_verifications_at_once():
    async def busy(login, password, use):
        raise Overloaded

    client = World(example_directory(verify=busy)).connect(SUBMISSIONS)
    assert client.say(f"AUTH PLAIN {GOOD}\r\n").startswith("454 4.7.0")


# --- guesses ----------------------------------------------------------------------------------------------------------

WRONG = f"AUTH PLAIN {plain('alice@example.test', 'wrong')}"


def test_a_session_that_fails_too_often_is_closed():
    world = World(slow_after=99)
    client = world.connect(SUBMISSIONS)
    assert [client.code(WRONG) for _ in range(5)] == [535, 535, 535, 535, 421]
    assert client.is_closed


def test_acting_for_another_counts_as_a_failure():
    client = World(slow_after=99, max_failures=2).connect(SUBMISSIONS)
    other = f"AUTH PLAIN {plain('alice@example.test', 'correct horse', authzid='bob@example.test')}"
    assert [client.code(other), client.code(other)] == [535, 421]
    assert client.world.directory.verified == []


def test_guessers_wait_before_their_password_is_looked_at():
    world = World(slow_after=2, max_failures=99)
    client = world.connect(SUBMISSIONS)
    assert [client.code(WRONG), client.code(WRONG)] == [535, 535]
    waiting = client.begin(WRONG + "\r\n")
    assert len(world.directory.verified) == 2
    world.clock.advance(0.9)
    assert not waiting.called
    world.clock.advance(0.1)
    assert waiting.result.reply.code == 535


def test_a_guesser_waits_with_the_right_password_too_and_on_new_connections():
    world = World(slow_after=1, max_failures=99)
    world.connect(SUBMISSIONS).code(WRONG)
    waiting = world.connect(SUBMISSIONS).begin(f"AUTH PLAIN {GOOD}\r\n")
    assert not waiting.called
    world.clock.advance(1.0)
    assert waiting.result.reply.code == 235


def test_hanging_up_while_waiting_counts_as_a_guess_and_costs_no_verification():
    world = World(slow_after=0, max_failures=99)
    client = world.connect(SUBMISSIONS)
    client.begin(WRONG + "\r\n")
    client.session.lost("connection lost")
    world.clock.advance(1.0)
    assert world.directory.verified == []
    assert len(world.lines("login-refused")) == 1
    assert world.doors.guesses.delay_s(client.session._peer, world.clock.monotonic()) == 2.0


def test_a_long_login_name_makes_a_short_line():
    world = World(slow_after=99)
    world.connect(SUBMISSIONS).code(f"AUTH PLAIN {plain('x' * 8_000, 'y')}")
    assert len(world.lines("login-refused")[0]) < 500


def test_another_address_is_not_slowed_and_the_account_is_never_locked():
    world = World(slow_after=1, max_failures=3)
    attacker = world.connect(SUBMISSIONS)
    attacker.code(WRONG)
    for _ in range(20):
        waiting = attacker.begin(WRONG + "\r\n") if not attacker.is_closed else None
        if waiting is None:
            break
        world.clock.advance(60.0)
        answer = waiting.result
        attacker.machine.reply(answer.reply)
        attacker.is_closed = answer.then is Then.CLOSE
    assert attacker.is_closed
    assert world.connect(SUBMISSIONS, address="198.51.100.7").code(f"AUTH PLAIN {GOOD}") == 235


def test_exempt_networks_are_not_slowed():
    world = World(slow_after=0, max_failures=99, exempt=(ipaddress.ip_network("192.0.2.0/24"),))
    client = world.connect(SUBMISSIONS)
    assert [client.code(WRONG) for _ in range(9)] == [535] * 9


def test_logins_are_logged_without_their_passwords():
    world = World()
    client = world.connect(SUBMISSIONS)
    client.code("AUTH PLAIN " + plain("al\x1bice", "hush-hush"))
    client.login()
    client.code(f"AUTH PLAIN {GOOD}")
    text = "\n".join(event.line() for event in world.events)
    assert world.lines("login-refused") == [
        "login-refused [192.0.2.7:4711] service=submissions login=al?ice mechanism=PLAIN"
        ' reason="wrong login or password"'
    ]
    assert world.lines("login") == [
        "login [192.0.2.7:4711] service=submissions login=alice@example.test mechanism=PLAIN"
        " tls=TLSv1.3/TLS_AES_256_GCM_SHA384"
    ]
    assert "hush" not in text
    assert "correct" not in text
    assert GOOD not in text


# --- whose address ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sender", "code"),
    [
        ("<alice@example.test>", 250),
        ("<Alice@Example.TEST>", 250),
        ("<alice+shop@example.test>", 250),
        ("<sales@example.test>", 250),
        ("<>", 250),  # receipts and answers of machines
        ("<bob@example.test>", 553),
        ("<friend@example.test>", 553),
        ("<alice@far.example>", 553),
        ("<nobody@example.test>", 553),
    ],
)
def test_the_reverse_path_belongs_to_the_login(sender, code):
    assert submitting().code(f"MAIL FROM:{sender}") == code


def test_the_refusal_says_what_may_be_used():
    reply = submitting().say("MAIL FROM:<bob@example.test>\r\n")
    assert reply == "553 5.7.1 This login may send as alice@example.test, sales@example.test\r\n"


def test_may_send_as_widens_it():
    directory = example_directory()
    alice = directory.accounts["alice@example.test"]
    directory.accounts["alice@example.test"] = dataclasses.replace(alice, may_send_as=("@partner.example",))
    client = submitting(World(directory))
    assert client.code("MAIL FROM:<any@partner.example>") == 250


def submit(header, **options):
    client = submitting()
    return client, client.send(header + b"\r\nbody\r\n", sender="alice@example.test", to=("x@far.example",), **options)


@pytest.mark.parametrize(
    ("header", "reply"),
    [
        (b"From: alice@example.test\r\n", "250"),
        (b"From: Alice <alice@example.test>\r\n", "250"),
        (b'from: "Alice, A." <Alice+x@EXAMPLE.test> (work)\r\n', "250"),
        (b"From:\r\n\talice@example.test\r\n", "250"),
        (b"From : alice@example.test\r\n", "250"),
        (b"From: =?utf-8?q?bob=40example=2Etest?= <alice@example.test>\r\n", "250"),
        (b"From: alice@example.test, sales@example.test\r\n", "250"),
        (b"From: bob@example.test\r\n", "550 5.7.1"),
        (b"From: alice@example.test <bob@example.test>\r\n", "550 5.7.1"),
        (b"From: alice@example.test, bob@example.test\r\n", "550 5.7.1"),
        (b"From: alice@far.example\r\n", "550 5.7.1"),
        (b"From: alice@example.test\r\nFrom: bob@example.test\r\n", "550 5.6.0"),
        (b"From: alice@example.test\r\nFrom: alice@example.test\r\n", "550 5.6.0"),
        (b"From: alice@example.test\r\nFrom : bob@example.test\r\n", "550 5.6.0"),
        (b"From: root\r\n", "550 5.6.0"),
        (b"From:\r\n", "550 5.6.0"),
        (b"From: <>\r\n", "550 5.6.0"),
        (b"From: <alice@example.test> <bob@example.test>\r\n", "550 5.6.0"),
        (b"From: <alice@example.test> bob@example.test\r\n", "550 5.6.0"),
        (b"From: <bob@example.test\r\n", "550 5.6.0"),
        (b"From: group: alice@example.test;\r\n", "550 5.6.0"),
        (b"From: <@far.example:alice@example.test>\r\n", "550 5.6.0"),
        (b"Subject: x\r\nno field\r\nFrom: bob@example.test\r\n", "550 5.7.1"),  # some readers go on behind such a line
        (b"Subject: x\r\nno field\r\nFrom: alice@example.test\r\n", "250"),
        # Readers that take the first thing with an @ for the address (CVE-2023-27043); in quotes it is a name.
        (b"From: bob@example.test <alice@example.test>\r\n", "550 5.7.1"),
        (b"From: the ceo bob@example.test <alice@example.test>\r\n", "550 5.7.1"),
        (b"From: (x) bob@example.test (y) <alice@example.test>\r\n", "550 5.7.1"),
        (b"From: sales@example.test <alice@example.test>\r\n", "250"),
        (b'From: "the bob@example.test fan" <alice@example.test>\r\n', "250"),
        (b"From: Alice @ Home <alice@example.test>\r\n", "250"),
        (b"From: \xe4 <alice@example.test>\r\n", "250"),  # a name in Latin-1, from an old device
        (b"From: alice <\xe4lice@example.test>\r\n", "550 5.6.0"),
        (b"From: alice <alice@ex\xe4mple.test>\r\n", "550 5.6.0"),
        (b"From: \xff <alice@example.test>, \xff <bob@example.test>\r\n", "550 5.7.1"),
        (b"From: alice@example.test\xff <bob@example.test>\r\n", "550 5.7.1"),
    ],
)
def test_from_belongs_to_the_login(header, reply):
    _, said = submit(header)
    assert said.startswith(reply), said


def test_from_is_looked_for_behind_a_line_that_is_no_field_when_no_empty_line_follows_at_all():
    """Some readers skip such a line and read on."""
    octets = b"From: alice@example.test\r\nno field\r\nFrom: bob@example.test\r\n"
    assert submitting().send(octets, sender="alice@example.test", to=("x@far.example",)).startswith("550 5.6.0")


def test_the_refusal_of_from_says_what_may_be_used():
    _, said = submit(b"From: bob@example.test\r\n")
    assert said == (
        "550 5.7.1 The From field is not yours; this login may send as alice@example.test, sales@example.test\r\n"
    )


def test_a_stranger_may_write_what_it_likes_into_from():
    """Port 25: mailing lists and forwarders carry other people's From."""
    assert World().connect().send(b"From: a@b.example\r\nFrom: root\r\n\r\nx\r\n").startswith("250")


# --- header -----------------------------------------------------------------------------------------------------------

DATE = b"Date: Sun, 15 Jun 2025 15:06:40 +0000\r\n"
MESSAGE_ID = b"Message-ID: <0000000000001@mail.example.test>\r\n"
FROM = b"From: <alice@example.test>\r\n"


@pytest.mark.parametrize(
    ("content", "stored"),
    [
        (
            b"From: alice@example.test\r\nDate: x\r\nMessage-ID: <1@a>\r\n\r\nbody\r\n",
            b"From: alice@example.test\r\nDate: x\r\nMessage-ID: <1@a>\r\n\r\nbody\r\n",
        ),
        (
            b"From: alice@example.test\r\nSubject: x\r\n\r\nbody\r\n",
            DATE + MESSAGE_ID + b"From: alice@example.test\r\nSubject: x\r\n\r\nbody\r\n",
        ),
        (b"", FROM + DATE + MESSAGE_ID),
        (b"\r\nbody\r\n", FROM + DATE + MESSAGE_ID + b"\r\nbody\r\n"),
        (b"just text\r\n", FROM + DATE + MESSAGE_ID + b"\r\njust text\r\n"),
        (b"Subject: x\r\n", FROM + DATE + MESSAGE_ID + b"Subject: x\r\n"),
        (
            b"DATE: x\r\nBCC: a@b.example,\r\n c@d.example\r\nFROM: alice@example.test\r\nbcc : e@f.example\r\n"
            b"MESSAGE-ID: <1@a>\r\nBcc:\r\n\r\nBcc: in the body\r\n",
            b"DATE: x\r\nFROM: alice@example.test\r\nMESSAGE-ID: <1@a>\r\n\r\nBcc: in the body\r\n",
        ),
        (
            b"From: alice@example.test\r\nDate: x\r\nMessage-ID: <1@a>\r\nX-O:  two  \r\n\tand\tfold\r\n\r\n\x80\r\n",
            b"From: alice@example.test\r\nDate: x\r\nMessage-ID: <1@a>\r\nX-O:  two  \r\n\tand\tfold\r\n\r\n\x80\r\n",
        ),
        (
            b"Resent-Bcc: a@b.example\r\nX-Bcc: b\r\nFrom: alice@example.test\r\nDate: x\r\nMessage-ID: <1@a>\r\n\r\n",
            b"X-Bcc: b\r\nFrom: alice@example.test\r\nDate: x\r\nMessage-ID: <1@a>\r\n\r\n",
        ),
    ],
)
def test_what_is_added_and_removed(content, stored):
    client = submitting()
    assert client.send(content, sender="alice@example.test").startswith("250")
    assert client.stored[0].content == stored


def test_a_missing_from_is_the_reverse_path_or_the_account():
    client = submitting()
    client.send(b"Subject: x\r\n\r\nx\r\n", sender="sales@example.test")
    client.send(b"Subject: x\r\n\r\nx\r\n", sender="")
    assert client.stored[0].content.startswith(b"From: <sales@example.test>\r\n")
    assert client.stored[1].content.startswith(b"From: <alice@example.test>\r\n")


def test_local_recipients_are_filed_and_remote_ones_queued():
    client = submitting()
    client.send(sender="alice@example.test", to=("bob@example.test", "x@far.example", "X@far.example"))
    acceptance = client.stored[0].acceptance
    assert [str(copy.mailbox) for copy in acceptance.local] == ["bob@example.test"]
    assert [str(one.mailbox) for one in acceptance.remote] == ["x@far.example", "X@far.example"]
    assert acceptance.envelope.reverse_path == box("alice@example.test")
    assert acceptance.source == "[192.0.2.7:4711] alice@example.test ESMTPSA"
    assert b"from client.example ([192.0.2.7])\r\n\tby mail.example.test with ESMTPSA (TLSv1.3" in acceptance.received


def test_a_login_on_port_25_is_a_submission_too():
    client = World().connect(dataclasses.replace(SMTP, offers_auth=True), tls=TLS)
    client.login()
    assert client.code("MAIL FROM:<bob@example.test>") == 553
    assert client.send(b"Bcc: x@y.example\r\n\r\nx\r\n", sender="alice@example.test").startswith("250")
    assert client.stored[0].content == FROM + DATE + MESSAGE_ID + b"\r\nx\r\n"


def test_a_header_too_big_to_be_checked_is_refused():
    client = submitting()
    client.commands("MAIL FROM:<alice@example.test>", "RCPT TO:<bob@example.test>", "DATA")
    field = b"X-Pad: " + b"x" * 990 + b"\r\n"
    for _ in range(300):
        client.say(field)
    assert client.say(b"From: bob@example.test\r\n\r\nx\r\n.\r\n").startswith("552 5.3.4 The header")
    assert client.stored == []


def test_a_large_submission_is_completed_too():
    client = submitting()
    client.commands("MAIL FROM:<alice@example.test>", "RCPT TO:<bob@example.test>", "DATA")
    body = b"x" * 300_000 + b"\r\n"
    assert client.say(b"Bcc: q@r.example\r\nSubject: x\r\n\r\n" + body + b".\r\n").startswith("250")
    assert client.stored[0].was_large
    assert client.stored[0].content == FROM + DATE + MESSAGE_ID + b"Subject: x\r\n\r\n" + body


# --- repair -----------------------------------------------------------------------------------------------------------


def test_bare_newlines_are_repaired_for_logins_when_configured():
    settings = SmtpSettings("mail.example.test", repairs_bare_newlines=True)
    client = submitting(settings=settings)
    content = b"From: alice@example.test\nDate: x\nMessage-ID: <1@a>\n\nbody\rend\n\r\n"
    assert client.send(content, sender="alice@example.test").startswith("250")
    assert client.stored[0].content == (
        b"From: alice@example.test\r\nDate: x\r\nMessage-ID: <1@a>\r\n\r\nbody\r\nend\r\n\r\n"
    )


def test_bare_newlines_are_never_repaired_for_strangers():
    settings = SmtpSettings("mail.example.test", repairs_bare_newlines=True)
    assert World().connect(settings=settings).send(b"a\nb\r\n").startswith("554")


def test_repair_ends_with_the_login():
    settings = SmtpSettings("mail.example.test", repairs_bare_newlines=True, auth_without_tls=AuthWithoutTls.ALWAYS)
    client = World().connect(dataclasses.replace(SMTP, offers_auth=True), settings=settings)
    client.login()
    client.code("STARTTLS")
    assert client.send(b"a\nb\r\n").startswith("554")
