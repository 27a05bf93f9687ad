"""Whole conversations over a scripted stream."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Body, Envelope, Recipient
from mailserver.mail.outcome import Bounced, Deferred, Delivered, Stage
from mailserver.mail.route import Login
from mailserver.mail.transcript import MAX_CHARS, Transcript
from mailserver.ports import NextHop, NotOpened, Opened, TlsDetails, TlsFailed, TlsRequirement, TlsUse
from mailserver.session.client_channel import Timeouts
from mailserver.session.smtp_client import ClientLimits, SmtpClientSession
from tests.fakes.awaiting import run, start
from tests.fakes.clock import FakeClock
from tests.fakes.stream import (
    BREAK,
    EOF,
    SILENCE,
    STUCK,
    TLS_BROKEN,
    TLS_OK,
    WRITE_BREAKS,
    C,
    MemoryContent,
    ScriptedStream,
)

A, B, D = (Recipient(Mailbox(name, "example.net")) for name in "abd")
ENVELOPE = Envelope(Mailbox("s", "example.org"), (A,))
TWO = ENVELOPE.with_recipients([A, B])
CONTENT = MemoryContent(b"Subject: hi\r\n\r\n.dot\r\n")
WIRE = b"Subject: hi\r\n\r\n..dot\r\n.\r\n"
HELLO = (b"220 mx ESMTP\r\n", C(b"EHLO us.example\r\n"))
PLAIN = (*HELLO, b"250 mx\r\n")
PIPED = (*HELLO, b"250-mx\r\n250 PIPELINING\r\n")
FROM, TO_A, TO_B = b"MAIL FROM:<s@example.org>\r\n", b"RCPT TO:<a@example.net>\r\n", b"RCPT TO:<b@example.net>\r\n"
DATA = b"DATA\r\n"


def session(*script, tls=TlsUse.OPPORTUNISTIC, login=None, in_clear=False, clock=None, limits=None):
    stream = ScriptedStream(*script)
    hop = NextHop("mx[192.0.2.1]", "us.example", tls, TlsRequirement("mx"), login, in_clear)
    return stream, SmtpClientSession(stream, hop, clock=clock or FakeClock(), limits=limits)


def converse(*script, envelope=ENVELOPE, content=CONTENT, **kind):
    """Open, send one message, quit; the stream and the outcomes."""
    stream, conversation = session(*script, **kind)

    async def everything():
        opened = await conversation.open()
        assert isinstance(opened, Opened), opened
        outcomes = await conversation.send(envelope, content)
        await conversation.quit()
        return outcomes

    return stream, run(everything())


def opening(*script, **kind):
    stream, conversation = session(*script, **kind)
    return stream, run(conversation.open())


# --- opening ----------------------------------------------------------------------------------------------------------


def test_a_message_is_sent_with_pipelining():
    stream, outcomes = converse(
        *PIPED,
        C(FROM + TO_A + DATA),
        b"250 ok\r\n250 ok\r\n354 go\r\n",
        C(WIRE),
        b"250 2.0.0 taken\r\n",
        C(b"QUIT\r\n"),
    )
    assert isinstance(outcomes[A], Delivered)
    assert outcomes[A].host == "mx[192.0.2.1]"
    assert stream.is_done and stream.ending == "closed"


def test_without_pipelining_commands_come_one_at_a_time():
    _stream, outcomes = converse(
        *PLAIN, C(FROM), b"250 ok\r\n", C(TO_A), b"250 ok\r\n", C(DATA), b"354 go\r\n", C(WIRE), b"250 ok\r\n"
    )
    assert isinstance(outcomes[A], Delivered)


@pytest.mark.parametrize("banner", [b"554 no mail from you\r\n", b"521 no mail\r\n", b"421 busy\r\n", b"450 later\r\n",
                                    b"354 what\r\n"])  # fmt: skip
def test_a_refused_greeting_is_never_final(banner):
    stream, opened = opening(banner)
    assert isinstance(opened, NotOpened)
    assert opened.stage is Stage.BANNER and opened.reply.code == int(banner[:3])
    assert stream.ending is not None


@pytest.mark.parametrize("step", [EOF, BREAK, b"SSH-2.0-OpenSSH_9\r\n", b"250-x\r\n550 y\r\n", b"2200 hi\r\n"])
def test_no_greeting_at_all_is_temporary(step):
    _, opened = opening(step)
    assert isinstance(opened, NotOpened)
    assert opened.stage is Stage.BANNER and opened.reply is None


def test_a_greeting_in_many_lines_cut_anywhere_is_one_greeting():
    _, opened = opening(b"220-hel", b"lo\r\n22", b"0-x\r", b"\n220 go\r\n", C(b"EHLO us.example\r\n"), b"250 mx\r\n")
    assert opened == Opened(None)


@pytest.mark.parametrize("code", [b"500", b"502", b"501", b"550"])
def test_helo_follows_an_ehlo_that_is_not_known(code):
    _, opened = opening(*HELLO, code + b" what\r\n", C(b"HELO us.example\r\n"), b"250 mx\r\n")
    assert opened == Opened(None)


@pytest.mark.parametrize("answer", [b"421 busy\r\n", b"450 later\r\n", b"554 go away\r\n"])
def test_helo_does_not_follow_a_host_that_wants_no_talk(answer):
    stream, opened = opening(*HELLO, answer)
    assert isinstance(opened, NotOpened) and opened.stage is Stage.EHLO
    assert b"HELO us" not in stream.written.replace(b"EHLO", b"")


def test_a_greeting_answered_twice_shifts_nothing():
    """A reply too many would make every later one the answer to the wrong command."""
    _, opened = opening(b"220 hi\r\n220 hi again\r\n")
    assert isinstance(opened, NotOpened)
    assert "nobody asked" in opened.reason


# --- STARTTLS ---------------------------------------------------------------------------------------------------------

OFFER = (*HELLO, b"250-mx\r\n250-PIPELINING\r\n250 STARTTLS\r\n")
GO = (*OFFER, C(b"STARTTLS\r\n"), b"220 go\r\n")


def test_starttls_is_used_when_offered_and_ehlo_said_again():
    stream, opened = opening(*GO, TLS_OK, C(b"EHLO us.example\r\n"), b"250 mx\r\n")
    assert opened == Opened(TlsDetails("TLSv1.3", "TLS_AES_256_GCM_SHA384"))
    assert stream.requirements == [TlsRequirement("mx")]


def test_nothing_learnt_before_the_handshake_counts():
    """RFC 3207 4.2: PIPELINING was offered in clear only."""
    _stream, outcomes = converse(
        *GO, TLS_OK, C(b"EHLO us.example\r\n"), b"250 mx\r\n",
        C(FROM), b"250\r\n", C(TO_A), b"250\r\n", C(DATA), b"354\r\n", C(WIRE), b"250\r\n",
    )  # fmt: skip
    assert outcomes[A].tls == "TLSv1.3"


def test_octets_glued_to_the_answer_to_starttls_are_an_error():
    """CVE-2021-38371."""
    stream, opened = opening(*OFFER, C(b"STARTTLS\r\n"), b"220 go\r\n250-mx\r\n250 AUTH PLAIN\r\n")
    assert isinstance(opened, NotOpened) and opened.stage is Stage.STARTTLS
    assert opened.may_try_in_clear
    assert stream.ending == "aborted" and not stream.requirements


@pytest.mark.parametrize("answer", [b"454 not now\r\n", b"502 unknown\r\n"])
def test_a_refused_starttls_is_no_obstacle_when_tls_is_opportunistic(answer):
    assert opening(*OFFER, C(b"STARTTLS\r\n"), answer)[1] == Opened(None, is_tls_refused=True)


@pytest.mark.parametrize(
    "script",
    [
        (*PLAIN,),
        (*OFFER, b"454 not now\r\n"),
        (*GO, TLS_BROKEN),
        (*OFFER, b"220 go\r\nglued"),
    ],
)
def test_required_tls_never_falls_back(script):
    _, opened = opening(*script, tls=TlsUse.REQUIRED)
    assert isinstance(opened, NotOpened)
    assert opened.stage is Stage.STARTTLS and not opened.may_try_in_clear


def test_a_failed_handshake_may_be_tried_in_clear_on_another_connection():
    stream, opened = opening(*GO, TLS_BROKEN)
    assert isinstance(opened, NotOpened) and opened.may_try_in_clear
    assert "no shared cipher" in opened.reason
    assert stream.ending == "aborted"


@pytest.mark.parametrize(
    "script",
    [
        (*OFFER, C(b"STARTTLS\r\n"), BREAK),
        (*OFFER, C(b"STARTTLS\r\n"), b"what?\r\n"),
        (*GO, TLS_OK, C(b"EHLO us.example\r\n"), EOF),  # TLS 1.3: the refusal comes behind our handshake
        (*GO, EOF),
    ],
)
def test_a_host_that_breaks_off_around_starttls_may_be_tried_in_clear(script):
    _, opened = opening(*script)
    assert isinstance(opened, NotOpened) and opened.stage is Stage.STARTTLS
    assert opened.may_try_in_clear
    assert not opening(*script, tls=TlsUse.REQUIRED)[1].may_try_in_clear


def test_without_tls_wanted_starttls_is_not_said():
    assert opening(*OFFER, tls=TlsUse.NEVER)[1] == Opened(None)


def test_implicit_tls_comes_before_the_greeting():
    _stream, opened = opening(TLS_OK, b"220 hi\r\n", C(b"EHLO us.example\r\n"), b"250 mx\r\n", tls=TlsUse.IMPLICIT)
    assert isinstance(opened, Opened) and opened.tls is not None
    assert isinstance(opening(TLS_BROKEN, tls=TlsUse.IMPLICIT)[1], NotOpened)


# --- AUTH -------------------------------------------------------------------------------------------------------------

LOGIN = Login("u", "p")
AUTH = (*HELLO, b"250-mx\r\n250 AUTH LOGIN PLAIN\r\n")
AUTH_LOGIN = (*HELLO, b"250-mx\r\n250 AUTH=LOGIN\r\n")


def test_a_transcript_has_commands_and_answers_and_neither_passwords_nor_content():
    login = (C(b"AUTH LOGIN\r\n"), b"334 VXNlcm5hbWU6\r\n", C(b"dQ==\r\n"), b"334 UGFzc3dvcmQ6\r\n", C(b"cA==\r\n"))
    _, conversation = session(
        *HELLO,
        b"250-mx\r\n250-PIPELINING\r\n250 AUTH=LOGIN\r\n",
        *login,
        b"235 ok\r\n",
        C(FROM + TO_A + DATA),
        b"250 ok\r\n450-4.7.1 later\r\n450 4.7.1 please\r\n354 go\r\n",
        EOF,
        login=LOGIN,
        in_clear=True,
    )
    clock = FakeClock()
    transcript = Transcript(clock.monotonic)
    conversation.transcribe(transcript)
    run(conversation.open())
    run(conversation.send(ENVELOPE, CONTENT))
    assert [line[9:] for line in transcript.text.splitlines()][:12] == [
        "< 220 mx ESMTP",
        "> EHLO us.example",
        "< 250-mx",
        "< 250-PIPELINING",
        "< 250 AUTH=LOGIN",
        "- (AUTH, not shown)",
        "- (a challenge, not shown)",
        "- (AUTH, not shown)",
        "- (a challenge, not shown)",
        "- (AUTH, not shown)",
        "< 235 ok",
        "> MAIL FROM:<s@example.org>",
    ]
    assert "> RCPT TO:<a@example.net>\n" in transcript.text
    assert "< 450-4.7.1 later\n" in transcript.text
    for secret in ("dQ==", "cA==", "Subject", "VXNl"):
        assert secret not in transcript.text
    conversation.transcribe(None)


def test_a_transcript_is_bounded_and_printable():
    transcript = Transcript(FakeClock().monotonic)
    for _ in range(100):
        transcript.said(b"\x1b[31m\xff" + b"x" * 3000 + b"\r\n")
    assert len(transcript.text) < MAX_CHARS + 100
    assert transcript.text.endswith("(the rest is left out)\n")
    assert all(line.isprintable() for line in transcript.text.splitlines())


def test_auth_plain_is_preferred():
    assert opening(*AUTH, C(b"AUTH PLAIN AHUAcA==\r\n"), b"235 ok\r\n", login=LOGIN, in_clear=True)[1] == Opened(None)


def test_a_host_that_asks_again_gets_the_same_answer_once():
    script = (*AUTH, C(b"AUTH PLAIN AHUAcA==\r\n"), b"334 \r\n", C(b"AHUAcA==\r\n"))
    assert opening(*script, b"235 ok\r\n", login=LOGIN, in_clear=True)[1] == Opened(None)
    assert isinstance(opening(*script, b"334 \r\n", login=LOGIN, in_clear=True)[1], NotOpened)


def test_auth_login_is_spoken_where_plain_is_not():
    script = (C(b"AUTH LOGIN\r\n"), b"334 VXNlcm5hbWU6\r\n", C(b"dQ==\r\n"), b"334 UGFzc3dvcmQ6\r\n", C(b"cA==\r\n"))
    assert opening(*AUTH_LOGIN, *script, b"235 ok\r\n", login=LOGIN, in_clear=True)[1] == Opened(None)


@pytest.mark.parametrize("answer", [b"535 5.7.8 wrong\r\n", b"454 later\r\n", b"421 bye\r\n", EOF, b"nonsense\r\n"])
def test_a_refused_login_is_never_final(answer):
    _, opened = opening(*AUTH, C(b"AUTH PLAIN AHUAcA==\r\n"), answer, login=LOGIN, in_clear=True)
    assert isinstance(opened, NotOpened) and opened.stage is Stage.AUTH


def test_a_password_is_never_said_in_clear():
    stream, opened = opening(*AUTH, login=LOGIN)
    assert isinstance(opened, NotOpened) and opened.stage is Stage.AUTH
    assert b"AUTH" not in stream.written


def test_no_known_mechanism_is_told():
    _, opened = opening(*HELLO, b"250-mx\r\n250 AUTH XOAUTH2\r\n", login=LOGIN, in_clear=True)
    assert "neither" in opened.reason


# --- sending ----------------------------------------------------------------------------------------------------------

SENT = (C(FROM + TO_A + DATA), b"250\r\n250\r\n354\r\n", C(WIRE))


@pytest.mark.parametrize(
    ("script", "stage"),
    [
        ((BREAK,), Stage.MAIL),
        ((EOF,), Stage.MAIL),
        ((b"250 ok\r\n", BREAK), Stage.RCPT),
        ((b"250\r\n250\r\n", EOF), Stage.DATA),
        ((b"250\r\n250\r\n354\r\n", C(WIRE), BREAK), Stage.EOD),
        ((b"250\r\n250\r\n354\r\n", C(WIRE), EOF), Stage.EOD),
        ((b"250\r\n250\r\n354\r\n", C(WIRE), b"what?\r\n"), Stage.EOD),
        ((b"250\r\n250\r\n354\r\n250 taken already\r\n",), Stage.DATA),  # an answer before the content
        ((b"250\r\n250\r\n354\r\n421 bye\r\n",), Stage.DATA),
        ((b"250\r\nHTTP/1.0 200\r\n",), Stage.RCPT),
    ],
)
def test_trouble_at_each_verb_is_temporary_and_knows_its_stage(script, stage):
    _, outcomes = converse(*PIPED, C(FROM + TO_A + DATA), *script)
    assert isinstance(outcomes[A], Deferred)
    assert outcomes[A].stage is stage
    assert ("may repeat" in outcomes[A].reason) == (stage is Stage.EOD)


@pytest.mark.parametrize("code", [b"421", b"451", b"550"])
def test_a_reply_to_the_content_decides(code):
    _, outcomes = converse(*PIPED, *SENT, code + b" 4.0.0 words\r\n")
    assert isinstance(outcomes[A], Bounced if code == b"550" else Deferred)
    assert outcomes[A].reply.code == int(code)


def test_the_last_words_of_a_host_that_closes_in_the_middle_count():
    big = MemoryContent(b"Subject: x\r\n\r\n" + b"y" * 500 + b"\r\n", piece=100)
    _, outcomes = converse(
        *PIPED, C(FROM + TO_A + DATA), b"250\r\n250\r\n354\r\n", C(b"Subject"), WRITE_BREAKS, b"552 5.3.4 too big\r\n",
        content=big,
    )  # fmt: skip
    assert isinstance(outcomes[A], Bounced) and outcomes[A].enhanced == "5.3.4"


def test_a_break_in_the_middle_of_the_content_is_no_doubt_about_duplicates():
    big = MemoryContent(b"Subject: x\r\n\r\n" + b"y" * 500 + b"\r\n", piece=100)
    _, outcomes = converse(
        *PIPED, C(FROM + TO_A + DATA), b"250\r\n250\r\n354\r\n", C(b"Subject"), WRITE_BREAKS, BREAK, content=big
    )
    assert outcomes[A].stage is Stage.DATA and "may repeat" not in outcomes[A].reason


def test_a_break_while_the_final_dot_goes_out_may_mean_a_duplicate():
    _, outcomes = converse(*PIPED, *SENT, WRITE_BREAKS, BREAK)
    assert outcomes[A].stage is Stage.EOD and "may repeat" in outcomes[A].reason


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1000])
def test_content_in_pieces_is_the_same_on_the_wire(piece):
    content = MemoryContent(CONTENT.octets, piece=piece)
    _stream, outcomes = converse(*PIPED, *SENT, b"250\r\n", content=content)
    assert isinstance(outcomes[A], Delivered)


@pytest.mark.parametrize(
    "content",
    [
        MemoryContent(b"", claimed=10),
        MemoryContent(b"a\r\n" * 9, piece=9, claimed=100),
        MemoryContent(b"a\r\n" * 9, piece=9, error_at=0),
        MemoryContent(b"a\r\n" * 9, piece=9, error_at=2),
        MemoryContent(b"a\r\nb\nc\r\n"),
        MemoryContent(b"a\r\n" * 9 + b"\r", piece=9),
        MemoryContent(b"a\r\n" * 9, piece=9, claimed=20),
    ],
)
def test_a_damaged_queue_file_never_ends_the_content(content):
    """A message that was cut must not look complete to the other side."""
    stream, conversation = session(*PIPED, C(FROM + TO_A + DATA), b"250\r\n250\r\n354\r\n")

    async def everything():
        await conversation.open()
        return await conversation.send(ENVELOPE, content)

    outcomes = run(everything())
    assert isinstance(outcomes[A], Deferred) and outcomes[A].stage is Stage.LOCAL
    assert b"\r\n.\r\n" not in stream.written


def test_recipients_beyond_the_limit_go_into_another_transaction():
    """RFC 9422, and 452 for hosts that do not know it."""
    hello = (*HELLO, b"250-mx\r\n250-PIPELINING\r\n250 LIMITS RCPTMAX=1\r\n")
    _, outcomes = converse(
        *hello, *SENT, b"250 one\r\n", C(FROM + TO_B + DATA), b"250\r\n250\r\n354\r\n", C(WIRE), b"250 two\r\n",
        envelope=TWO,
    )  # fmt: skip
    assert [outcomes[who].reply.lines for who in (A, B)] == [("one",), ("two",)]
    _, outcomes = converse(
        *PIPED, C(FROM + TO_A + TO_B + DATA), b"250\r\n250\r\n452 too many\r\n354\r\n", C(WIRE), b"250 one\r\n",
        C(FROM + TO_B + DATA), b"250\r\n250\r\n354\r\n", C(WIRE), b"250 two\r\n", envelope=TWO,
    )  # fmt: skip
    assert [outcomes[who].reply.lines for who in (A, B)] == [("one",), ("two",)]


def test_a_host_that_never_takes_the_rest_defers_them():
    _, outcomes = converse(
        *PIPED, C(FROM + TO_A + TO_B + DATA), b"250\r\n250\r\n452 full\r\n354\r\n", C(WIRE), b"250 one\r\n",
        C(FROM + TO_B + DATA), b"250\r\n452 full\r\n503 no\r\n", envelope=TWO,
    )  # fmt: skip
    assert isinstance(outcomes[A], Delivered) and isinstance(outcomes[B], Deferred)


def test_many_messages_on_one_connection_until_the_host_has_enough():
    stream, conversation = session(
        *HELLO, b"250-mx\r\n250-PIPELINING\r\n250 LIMITS MAILMAX=3\r\n",
        *SENT, b"250 one\r\n",
        C(FROM + TO_A + DATA), b"250\r\n550 no\r\n503 no\r\n",
        C(b"RSET\r\n"), C(FROM + TO_A + DATA), b"250 reset\r\n250\r\n250\r\n354\r\n", C(WIRE), b"250 three\r\n",
        C(b"QUIT\r\n"),
    )  # fmt: skip

    async def everything():
        await conversation.open()
        outcomes = [(await conversation.send(ENVELOPE, CONTENT))[A] for _ in range(4)]
        await conversation.quit()
        return outcomes

    first, second, third, fourth = run(everything())
    assert isinstance(first, Delivered) and isinstance(second, Bounced) and isinstance(third, Delivered)
    assert isinstance(fourth, Deferred) and not conversation.can_send
    assert stream.is_done


def test_our_own_limit_of_messages_holds_too():
    _stream, conversation = session(*PIPED, *SENT, b"250\r\n", limits=ClientLimits(max_messages=1))
    run(conversation.open())
    assert conversation.can_send
    run(conversation.send(ENVELOPE, CONTENT))
    assert not conversation.can_send


# --- what a host is known not to take ---------------------------------------------------------------------------------

UTF8 = Recipient(Mailbox("jürgen", "example.net"))


def test_a_message_larger_than_the_host_takes_is_not_begun():
    stream, outcomes = converse(*HELLO, b"250-mx\r\n250 SIZE 10\r\n", C(b"QUIT\r\n"))
    assert isinstance(outcomes[A], Bounced) and outcomes[A].enhanced == "5.3.4"
    assert b"MAIL" not in stream.written


@pytest.mark.parametrize(
    ("envelope", "content"),
    [
        (Envelope(Mailbox("jürgen", "example.org"), (A,), smtputf8=True), CONTENT),
        (Envelope(Mailbox("jürgen", "example.org"), (A,)), CONTENT),
        (Envelope(None, (A,), smtputf8=True), MemoryContent("Subject: grüß\r\n\r\nx\r\n".encode())),
    ],
)
def test_what_needs_smtputf8_bounces_where_it_is_not_known(envelope, content):
    """RFC 6531 3.5."""
    _stream, outcomes = converse(*PIPED, C(b"QUIT\r\n"), envelope=envelope, content=content)
    assert isinstance(outcomes[A], Bounced) and outcomes[A].enhanced == "5.6.7"


def test_one_address_beyond_ascii_does_not_stop_the_others():
    _, outcomes = converse(*PIPED, *SENT, b"250\r\n", envelope=ENVELOPE.with_recipients([A, UTF8]))
    assert isinstance(outcomes[A], Delivered)
    assert isinstance(outcomes[UTF8], Bounced) and outcomes[UTF8].enhanced == "5.6.7"


@pytest.mark.parametrize(
    ("envelope", "content"),
    [
        (Envelope(Mailbox("s", "example.org"), (A,), smtputf8=True), CONTENT),  # declared, not needed
        (ENVELOPE, MemoryContent("Subject: hi\r\n\r\ngrüß\r\n".encode())),  # 8-bit body, no 8BITMIME
        (ENVELOPE, MemoryContent("Subject: grüß\r\n\r\nx\r\n".encode())),  # an old program's undeclared header
    ],
)
def test_what_does_not_need_smtputf8_goes_plainly_and_unchanged(envelope, content):
    _, outcomes = converse(
        *PIPED, C(FROM + TO_A + DATA), b"250\r\n250\r\n354\r\n", C(content.octets.replace(b"\n.", b"\n..") + b".\r\n"),
        b"250\r\n", envelope=envelope, content=content,
    )  # fmt: skip
    assert isinstance(outcomes[A], Delivered)


def test_smtputf8_and_8bitmime_are_said_where_offered():
    envelope = Envelope(Mailbox("s", "example.org"), (UTF8,), body=Body.EIGHTBITMIME)
    script = (*HELLO, b"250-mx\r\n250-SMTPUTF8\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
    mail = "MAIL FROM:<s@example.org> BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<jürgen@example.net>\r\nDATA\r\n".encode()
    _, outcomes = converse(*script, C(mail), b"250\r\n250\r\n354\r\n", C(WIRE), b"250\r\n", envelope=envelope)
    assert isinstance(outcomes[UTF8], Delivered)


def test_requiretls_is_said_where_offered_and_nothing_is_sent_elsewhere():
    """RFC 8689 4.2.1."""
    envelope = Envelope(Mailbox("s", "example.org"), (A,), require_tls=True)
    script = (*HELLO, b"250-mx\r\n250-PIPELINING\r\n250 REQUIRETLS\r\n")
    mail = b"MAIL FROM:<s@example.org> REQUIRETLS\r\nRCPT TO:<a@example.net>\r\nDATA\r\n"
    _, outcomes = converse(*script, C(mail), b"250\r\n250\r\n354\r\n", C(WIRE), b"250\r\n", envelope=envelope)
    assert isinstance(outcomes[A], Delivered)
    _, outcomes = converse(*PIPED, envelope=envelope)
    assert isinstance(outcomes[A], Bounced) and outcomes[A].enhanced == "5.7.30"


# --- time -------------------------------------------------------------------------------------------------------------

LIMITS = Timeouts()


@pytest.mark.parametrize(
    ("script", "seconds", "stage"),
    [
        ((), LIMITS.banner_s, Stage.BANNER),
        ((*HELLO,), LIMITS.ehlo_s, Stage.EHLO),
        ((*OFFER, C(b"STARTTLS\r\n")), LIMITS.starttls_s, Stage.STARTTLS),
        ((*GO, SILENCE), LIMITS.handshake_s, Stage.STARTTLS),
        ((*PIPED, C(FROM + TO_A + DATA)), LIMITS.mail_s, Stage.MAIL),
        ((*PIPED, C(FROM + TO_A + DATA), b"250\r\n"), LIMITS.rcpt_s, Stage.RCPT),
        ((*PIPED, C(FROM + TO_A + DATA), b"250\r\n250\r\n"), LIMITS.data_s, Stage.DATA),
        ((*PIPED, *SENT), LIMITS.eod_s, Stage.EOD),
        ((*PIPED, C(FROM + TO_A + DATA), b"250\r\n250\r\n354\r\n", C(WIRE), STUCK), LIMITS.block_s, Stage.EOD),
    ],
)
def test_every_phase_ends_in_its_time_and_not_before(script, seconds, stage):
    """RFC 5321 4.5.3.2."""
    clock = FakeClock()
    stream, conversation = session(*script, clock=clock)
    results = []

    async def everything():
        opened = await conversation.open()
        results.append(opened if isinstance(opened, NotOpened) else (await conversation.send(ENVELOPE, CONTENT))[A])

    start(everything())
    clock.advance(seconds - 1)
    assert not results
    clock.advance(2)
    assert isinstance(results[0], NotOpened | Deferred)
    assert results[0].stage is stage
    assert stream.ending is not None


@pytest.mark.parametrize("way", ["quit", "abort"])
def test_a_conversation_has_one_timer_and_none_when_it_is_over(way):
    clock = FakeClock()
    stream, conversation = session(*PIPED, *SENT, b"250 2.0.0 taken\r\n", C(b"QUIT\r\n"), clock=clock)

    async def one_message():
        await conversation.open()
        return await conversation.send(ENVELOPE, CONTENT)

    result = start(one_message())
    assert isinstance(result.result[A], Delivered)
    assert len(clock.twisted.getDelayedCalls()) == 1
    clock.advance(LIMITS.eod_s + 1)  # the time of a wait that is over does no harm
    assert stream.ending is None
    assert clock.twisted.getDelayedCalls() == []
    conversation.abort() if way == "abort" else start(conversation.quit())
    assert stream.ending is not None
    assert clock.twisted.getDelayedCalls() == []


def test_a_drip_of_octets_does_not_stretch_the_time_for_a_reply():
    clock = FakeClock()
    stream = ScriptedStream()
    hop = NextHop("mx", "us.example", TlsUse.NEVER, TlsRequirement("mx"))
    conversation = SmtpClientSession(stream, hop, clock=clock)
    waiting = []

    async def drip():
        await clock.sleep(60)
        if stream.ending == "aborted":
            from mailserver.ports import ConnectionFailed

            raise ConnectionFailed("given up")
        return b"2"

    stream.read = drip
    done = start(conversation.open())
    done.addCallback(waiting.append)
    for _ in range(8):
        clock.advance(60)
    assert isinstance(waiting[0], NotOpened)


def test_abort_from_outside_ends_what_waits():
    _stream, conversation = session(*PIPED, *SENT)
    run(conversation.open())
    results = []
    start(conversation.send(ENVELOPE, CONTENT)).addCallback(results.append)
    assert not results
    conversation.abort()
    assert isinstance(results[0][A], Deferred) and not conversation.can_send


# --- anything at all --------------------------------------------------------------------------------------------------

SAYINGS = st.one_of(
    st.sampled_from([
        b"220 hi\r\n", b"250 ok\r\n", b"250-mx\r\n250-PIPELINING\r\n250 SIZE 9\r\n", b"250-mx\r\n250 PIPELINING\r\n",
        b"250-mx\r\n250-STARTTLS\r\n250 SMTPUTF8\r\n", b"354 go\r\n", b"421 bye\r\n", b"450 later\r\n",
        b"550 5.1.1 no\r\n", b"452 full\r\n", b"503 what\r\n", b"554 no\r\n", b"25", b"0 ok\r\n", b"\r\n",
        b"250 a\r\n250 b\r\n", b"334 \r\n",
    ]),
    st.binary(max_size=30),
)  # fmt: skip
ENDINGS = st.sampled_from([EOF, BREAK, WRITE_BREAKS])


@settings(max_examples=300, deadline=None)
@given(st.lists(SAYINGS, max_size=16), ENDINGS, st.sampled_from([TlsUse.NEVER, TlsUse.OPPORTUNISTIC]))
def test_whatever_a_host_says_there_is_an_outcome_and_none_is_invented(sayings, ending, tls):
    stream, conversation = session(*sayings, ending, tls=tls)
    stream.start_tls = _no_tls

    async def everything():
        opened = await conversation.open()
        if isinstance(opened, NotOpened):
            return None
        outcomes = await conversation.send(TWO, CONTENT)
        await conversation.quit()
        return outcomes

    outcomes = run(everything())
    assert stream.ending is not None
    if outcomes is None:
        return
    assert set(outcomes) == {A, B}
    for outcome in outcomes.values():
        if isinstance(outcome, Delivered):
            assert 200 <= outcome.reply.code < 300 and WIRE in stream.written
        elif isinstance(outcome, Bounced):
            assert outcome.enhanced == "5.3.4" or outcome.reply.code >= 500


async def _no_tls(requirement):
    raise TlsFailed("no shared cipher")


def test_the_times_follow_one_setting_and_are_those_of_the_standard_without_it():
    """RFC 5321 4.5.3.2."""
    usual = Timeouts()
    assert Timeouts.within(300.0) == usual
    assert (usual.banner_s, usual.mail_s, usual.rcpt_s, usual.data_s, usual.block_s, usual.eod_s) == (
        300.0, 300.0, 300.0, 120.0, 180.0, 600.0
    )  # fmt: skip
    quick = Timeouts.within(1.0)
    assert max(getattr(quick, name) for name in Timeouts.__slots__ if name != "eod_s") == 1.0
    assert quick.eod_s == 2.0
