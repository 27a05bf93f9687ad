"""The SMTP server machine: order of commands, order of replies, and what hostile input becomes."""

import base64
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.mail.envelope import Envelope, Recipient
from mailserver.mail.reply import reply
from mailserver.wire.data import ContentFault
from mailserver.wire.sasl import Challenge, Claim, Mechanism, SaslFault
from mailserver.wire.smtp_events import (
    Auth,
    Content,
    Data,
    EndOfChunk,
    EndOfContent,
    Faulted,
    Hello,
    Help,
    InjectedOctets,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Reset,
    StartTls,
    Verify,
)
from mailserver.wire.smtp_server import MAX_COMMAND_OCTETS, SmtpServer, State
from tests.fakes.directory import box
from tests.wire.smtp_script import OK, Run, fixed_reply

MAIL = b"MAIL FROM:<a@b.example>\r\n"
RCPT = b"RCPT TO:<c@d.example>\r\n"
ENVELOPE = Mail(Envelope(box("a@b.example")))
TO = Rcpt(Recipient(box("c@d.example")))


def told(*segments, **options):
    return Run(**options).feed(*segments).told


def codes(*segments, **options):
    return Run(**options).feed(*segments).codes


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b"EHLO client.example", Hello("client.example", True)),
        (b"ehlo client.example  ", Hello("client.example", True)),
        (b"HELO [127.0.0.1]", Hello("[127.0.0.1]", False)),
        (b"NOOP", Noop()),
        (b"noop anything at all", Noop()),
        (b"RSET", Reset()),
        (b"RSET  ", Reset()),
        (b"VRFY alice", Verify()),
        (b"HELP", Help()),
        (b"HELP MAIL", Help()),
        (b"QUIT", Quit()),
        (b"STARTTLS", StartTls()),
        (b"mail from:<a@b.example>", ENVELOPE),
        (b"MAIL  FROM:<a@b.example>", ENVELOPE),
    ],
)
def test_commands(line, event):
    assert told(line + b"\r\n") == [event]


@pytest.mark.parametrize(
    ("line", "code", "enhanced"),
    [
        (b"", 500, "5.5.1"),
        (b" ", 500, "5.5.1"),
        (b" NOOP", 500, "5.5.1"),
        (b"FOO", 500, "5.5.1"),
        (b"GET / HTTP/1.1", 500, "5.5.1"),
        (b"XCLIENT ADDR=192.0.2.1", 500, "5.5.1"),
        (b"EXPN staff", 502, "5.5.1"),
        ("\u017ftarttls".encode(), 500, "5.5.1"),  # LATIN SMALL LETTER LONG S, upper case is S
        ("MAI\uff2c FROM:<a@b.example>".encode(), 500, "5.5.1"),
        (b"NOOP\xff", 500, "5.5.2"),
        (b"NOOP\0", 500, "5.5.2"),
        (b"NO\rOP", 500, "5.5.2"),
        (b"NOOP\nNOOP", 500, "5.5.2"),
        (b"EHLO", 501, "5.5.4"),
        (b"HELO", 501, "5.5.4"),
        (b"EHLO  ", 501, "5.5.4"),
        (b"VRFY", 501, "5.5.4"),
        (b"RSET now", 501, "5.5.4"),
        (b"QUIT now", 501, "5.5.4"),
        (b"STARTTLS now", 501, "5.5.4"),
        (b"AUTH", 504, "5.5.4"),
        (b"AUTH CRAM-MD5", 504, "5.5.4"),
        (b"RCPT TO:<c@d.example>", 503, "5.5.1"),
        (b"DATA", 503, "5.5.1"),
    ],
)
def test_refused_commands(line, code, enhanced):
    events = told(line + b"\r\n")
    assert len(events) == 1
    assert isinstance(events[0], Faulted)
    assert (events[0].reply.code, events[0].reply.enhanced) == (code, enhanced)


READY, IN_MAIL, IN_RCPT, IN_CHUNKS = b"", MAIL, MAIL + RCPT, MAIL + RCPT + b"BDAT 1\r\nx"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # In the states:      READY, MAIL, RCPT, CHUNKS
        (b"EHLO x\r\n", (250, 250, 250, 250)),
        (b"RSET\r\n", (250, 250, 250, 250)),
        (b"NOOP\r\n", (250, 250, 250, 250)),
        (b"VRFY a\r\n", (250, 250, 250, 250)),
        (MAIL, (250, 503, 503, 503)),
        (RCPT, (503, 250, 250, 503)),
        (b"DATA\r\n", (503, 503, 354, 503)),
        (b"BDAT 1\r\nx", (503, 503, 250, 250)),
        (b"BDAT 1 LAST\r\nx", (503, 503, 250, 250)),
        (b"STARTTLS\r\n", (220, 503, 503, 503)),
        (b"AUTH PLAIN\r\n", (334, 503, 503, 503)),
        (b"QUIT\r\n", (221, 221, 221, 221)),
    ],
)
def test_the_order_of_commands(line, expected):
    """The table at the end of `smtp_server`, from outside."""
    for before, code in zip((READY, IN_MAIL, IN_RCPT, IN_CHUNKS), expected, strict=True):
        assert codes(before, line)[-1] == code, (before, line)


def test_ehlo_and_rset_end_a_transaction():
    """RFC 5321 4.1.4."""
    for line in (b"EHLO x\r\n", b"HELO x\r\n", b"RSET\r\n"):
        assert codes(MAIL, RCPT, line, RCPT)[-1] == 503
        assert codes(MAIL, RCPT, line, MAIL)[-1] == 250


def test_a_refused_command_changes_nothing():
    def refuse(event):
        return reply(550, "5.7.1", "no") if isinstance(event, Mail | Rcpt) else fixed_reply(event)

    assert codes(MAIL, RCPT, b"DATA\r\n", answer=refuse) == [550, 503, 503]

    def refuse_rcpt(event):
        return reply(550, "5.1.1", "no") if isinstance(event, Rcpt) else fixed_reply(event)

    run = Run(answer=refuse_rcpt).feed(MAIL, RCPT, b"DATA\r\n", b"BDAT 2\r\nhi", RCPT)
    assert run.codes == [250, 550, 554, 554, 550]
    assert run.machine.state is State.MAIL


def test_data_without_354_stays_in_commands():
    def refuse(event):
        return reply(451, "4.3.0", "later") if isinstance(event, Data) else fixed_reply(event)

    assert codes(MAIL, RCPT, b"DATA\r\n", b"NOOP\r\n", answer=refuse) == [250, 250, 451, 250]


# --- pipelining -------------------------------------------------------------------------------------------------------


def test_nothing_is_told_before_the_reply_to_the_event_before():
    machine = SmtpServer(max_content_octets=100)
    machine.receive(b"NOOP\r\n" + MAIL)
    assert machine.next_event() is None  # before the banner
    assert machine.greet(reply(220, "", "x ESMTP")) == b"220 x ESMTP\r\n"
    assert machine.next_event() == Noop()
    assert machine.next_event() is None
    assert machine.reply(OK) == b"250 2.0.0 ok\r\n"
    assert machine.next_event() == ENVELOPE
    with pytest.raises(AssertionError):
        machine.reply(OK)
        machine.reply(OK)


def test_a_whole_conversation_in_one_segment():
    run = Run().feed(
        b"EHLO x\r\n" + MAIL + RCPT + b"DATA\r\nhi\r\n.\r\n" + MAIL + RCPT + b"BDAT 4 LAST\r\nyo\r\nQUIT\r\nNOOP\r\n"
    )
    assert run.codes == [250, 250, 250, 354, 250, 250, 250, 250, 221]
    assert run.content == b"hi\r\nyo\r\n"
    assert not run.machine.has_buffered_octets  # what follows QUIT is dropped


def test_nothing_follows_a_421():
    def close(event):
        return reply(421, "4.7.0", "bye")

    assert codes(b"NOOP\r\nNOOP\r\n", b"NOOP\r\n", answer=close) == [421]


def test_a_refusing_banner_ends_it():
    machine = SmtpServer(max_content_octets=100)
    machine.greet(reply(421, "4.3.2", "full"))
    machine.receive(b"NOOP\r\n")
    assert machine.next_event() is None


# --- DATA -------------------------------------------------------------------------------------------------------------


def test_a_small_message_is_one_piece():
    body = b"Subject: x\r\n\r\n" + b"line\r\n" * 600
    run = Run().feed(MAIL, RCPT, b"DATA\r\n", body + b".\r\n")
    assert [event for event in run.events if isinstance(event, Content)] == [Content(body)]
    assert run.told[-1] == EndOfContent(len(body), frozenset(), is_chunked=False)
    assert run.machine.content_octets == len(body) + 3


def test_in_content_is_told_for_the_timers():
    run = Run().feed(MAIL, RCPT)
    assert not run.machine.is_in_content
    run.feed(b"DATA\r\n")
    assert run.machine.is_in_content
    run.feed(b"a\r\n")
    assert run.machine.is_in_content
    assert run.machine.content_octets == 1
    run.feed(b".\r\n")
    assert not run.machine.is_in_content
    run.feed(MAIL, RCPT, b"BDAT 3\r\n", b"a")
    assert run.machine.is_in_content
    assert run.machine.content_octets == 1
    run.feed(b"bc")
    assert not run.machine.is_in_content


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"a\nb\r\n", ContentFault.BARE_NEWLINE),
        (b"a\0\r\n", ContentFault.NUL),
        (b"x" * 200 + b"\r\n", ContentFault.TOO_LONG),
    ],
)
def test_a_faulty_message_is_read_to_its_end_and_nothing_of_it_is_a_command(content, fault):
    """Hazards, "A fault inside DATA must not turn the rest into commands"."""
    run = Run(max_content_octets=100).feed(
        MAIL, RCPT, b"DATA\r\n", content + b"QUIT\r\nMAIL FROM:<x@y.example>\r\n.\r\nNOOP\r\n"
    )
    assert [type(event) for event in run.told] == [Mail, Rcpt, Data, EndOfContent, Noop]
    assert run.told[3].faults == {fault} | ({ContentFault.TOO_LONG} if run.told[3].size_octets > 100 else set())
    assert run.content == b""


def test_repair_is_an_option_of_the_machine():
    run = Run()
    run.machine.repairs_bare_newlines = True
    run.feed(MAIL, RCPT, b"DATA\r\n", b"a\nb\r", b"c\r\n.\r\n")
    assert run.content == b"a\r\nb\r\nc\r\n"
    assert run.told[-1].faults == frozenset()


def test_lines_of_any_length_pass_unchanged():
    for length in (998, 5_000, 200_000):
        body = b"x" * length + b"\r\n." + b"y" * length + b"\r\n"
        wire = body.replace(b"\r\n.", b"\r\n..") + b".\r\n"
        segments = [wire[place : place + 1460] for place in range(0, len(wire), 1460)]
        assert Run().feed(MAIL, RCPT, b"DATA\r\n", *segments).content == body


def test_content_in_small_pieces_is_not_copied_again_and_again():
    """A megabyte in segments of ten octets would take minutes if each looked at all before it."""
    run = Run(max_content_octets=10**7).feed(MAIL, RCPT, b"DATA\r\n")
    for _ in range(100_000):
        run.machine.receive(b"0123456789")
    run.feed(b"\r\n.\r\n")
    assert len(run.content) == 1_000_002


def test_a_flood_of_pipelined_commands_is_read_once():
    run = Run().feed(b"NOOP\r\n" * 50_000)
    assert len(run.events) == 50_000


# --- BDAT -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunks", "events", "content"),
    [
        (b"BDAT 0 LAST\r\n", [EndOfContent(0, frozenset(), True)], b""),
        (b"BDAT 4 LAST\r\nhi\r\n", [EndOfContent(4, frozenset(), True)], b"hi\r\n"),
        (b"BDAT 2 LAST\r\nhi", [EndOfContent(4, frozenset(), True)], b"hi\r\n"),  # promise 5: the final CRLF
        (b"BDAT 3\r\nabcBDAT 0 LAST\r\n", [EndOfChunk(3, frozenset()), EndOfContent(5, frozenset(), True)], b"abc\r\n"),
        (
            b"BDAT 2\r\na\rBDAT 3 LAST\r\n\nb\r",
            [EndOfChunk(2, frozenset()), EndOfContent(5, frozenset({ContentFault.BARE_NEWLINE}), True)],
            None,
        ),
        (b"BDAT 2\r\na\rBDAT 1 LAST\r\n\n", [EndOfChunk(2, frozenset()), EndOfContent(3, frozenset(), True)], b"a\r\n"),
        (b"BDAT 5 LAST\r\n\r\n.\r\n", [EndOfContent(5, frozenset(), True)], b"\r\n.\r\n"),  # dots mean nothing
        (b"BDAT 4 LAST\r\n..\r\n", [EndOfContent(4, frozenset(), True)], b"..\r\n"),
        (b"BDAT 0\r\nBDAT 1\r\nxBDAT 0 LAST\r\n", None, b"x\r\n"),
    ],
)
def test_bdat(chunks, events, content):
    run = Run().feed(MAIL, RCPT, chunks)
    if events is not None:
        assert run.told[2:] == events
    if content is not None:
        assert run.content == content
    bytewise = Run().feed(MAIL, RCPT, *(chunks[n : n + 1] for n in range(len(chunks))))
    assert bytewise.told == run.told


def test_a_refused_chunk_is_read_all_the_same():
    """RFC 3030 2. A client that pipelines does not know yet that MAIL or RCPT was refused."""
    run = Run().feed(b"BDAT 13\r\nQUIT\r\nQUIT\r\n.NOOP\r\n")
    assert run.told == [Faulted("BDAT", run.told[0].reply), Noop()]
    assert run.codes == [503, 250]
    assert run.content == b""


def test_a_chunk_with_a_fault_ends_the_transaction_and_later_ones_are_read():
    def judge(event):
        if isinstance(event, EndOfChunk) and event.faults:
            return reply(554, "5.6.0", "no")
        return fixed_reply(event)

    run = Run(answer=judge).feed(MAIL, RCPT, b"BDAT 2\r\n\nxBDAT 2\r\nabBDAT 2 LAST\r\ncd", b"RSET\r\n", MAIL)
    assert run.codes == [250, 250, 554, 503, 503, 250, 250]


def test_too_long_shows_at_the_chunk_that_exceeds():
    run = Run(max_content_octets=5).feed(MAIL, RCPT, b"BDAT 5\r\n12345", b"BDAT 1\r\n6")
    assert run.told[2:] == [EndOfChunk(5, frozenset()), EndOfChunk(1, frozenset({ContentFault.TOO_LONG}))]


@pytest.mark.parametrize("argument", [b"", b"LAST", b"-1", b"1x", b"9" * 21, b"5 FIRST"])
def test_a_chunk_without_a_size_cannot_be_told_from_commands(argument):
    events = told(MAIL, RCPT, b"BDAT " + argument + b"\r\n")
    assert isinstance(events[-1], Faulted)
    assert events[-1].must_close


def test_nothing_behind_a_chunk_without_a_size_is_a_command():
    assert codes(MAIL, RCPT, b"BDAT x\r\nNOOP\r\n", b"NOOP\r\n") == [250, 250, 501]


def test_small_chunks_in_one_large_segment_are_not_copied_again_and_again():
    run = Run().feed(MAIL, RCPT, b"BDAT 1\r\nx" * 50_000 + b"BDAT 0 LAST\r\n")
    assert run.content == b"x" * 50_000 + b"\r\n"


# --- over-long and odd lines ------------------------------------------------------------------------------------------


def test_an_over_long_command_is_discarded_to_its_crlf():
    run = Run().feed(b"NOOP " + b"x" * MAX_COMMAND_OCTETS + b"\r\nNOOP\r\n")
    assert run.codes == [500, 250]
    run = Run().feed(b"NOOP ", *[b"x" * 1000] * 50, b"\r", b"\n", b"NOOP\r\n")
    assert run.codes == [500, 250]


def test_a_terminal_that_sends_bare_lf_gets_an_answer():
    assert codes(b"EHLO x\n") == [500]


def test_a_command_line_of_2048_octets_is_read():
    assert codes(b"NOOP " + b"x" * (MAX_COMMAND_OCTETS - 5) + b"\r\n") == [250]


# --- STARTTLS ---------------------------------------------------------------------------------------------------------


def test_starttls_forgets_everything():
    """RFC 3207 4.2."""
    run = Run().feed(b"EHLO x\r\n", b"AUTH PLAIN AGEAYg==\r\n", b"STARTTLS\r\n")
    assert run.codes == [250, 235, 220]
    run.machine.receive(b"")
    assert run.machine.next_event() is None  # silent until the handshake
    run.machine.tls_started()
    run.feed(b"AUTH PLAIN AGEAYg==\r\n", b"STARTTLS\r\n", b"RCPT TO:<a@b.example>\r\n")
    assert run.codes[3:] == [235, 503, 503]


@pytest.mark.parametrize("behind", [b"N", b"NOOP\r\n", b"\r\n", MAIL + RCPT + b"DATA\r\n", b"\x16\x03\x01"])
def test_octets_behind_starttls_are_never_executed(behind):
    """CVE-2011-0411 and its many successors."""
    run = Run().feed(b"STARTTLS\r\n" + behind)
    assert run.told == [InjectedOctets()]
    assert run.codes == [421]
    assert not run.machine.has_buffered_octets
    run.feed(b"NOOP\r\n")
    assert run.codes == [421]


def test_octets_that_come_between_the_220_and_the_handshake_show():
    run = Run().feed(b"STARTTLS\r\n")
    run.machine.receive(b"NOOP\r\n")
    assert run.machine.next_event() is None
    assert run.machine.has_buffered_octets
    # The driver closes then; if it did not, they would still be nothing.
    run.machine.tls_started()
    assert run.machine.next_event() is None


def test_starttls_refused_goes_on_in_clear():
    def refuse(event):
        return reply(454, "4.7.0", "no") if isinstance(event, StartTls) else fixed_reply(event)

    assert codes(b"STARTTLS\r\n", b"NOOP\r\n", answer=refuse) == [454, 250]


# --- AUTH -------------------------------------------------------------------------------------------------------------

PLAIN = base64.b64encode(b"\0alice\0secret")


def test_auth_plain_with_an_initial_response():
    assert told(b"AUTH PLAIN " + PLAIN + b"\r\n") == [Auth(Mechanism.PLAIN, Claim("", "alice", "secret"))]
    assert told(b"auth plain " + PLAIN + b" \r\n") == [Auth(Mechanism.PLAIN, Claim("", "alice", "secret"))]


def test_auth_plain_with_the_response_on_its_own_line():
    assert told(b"AUTH PLAIN\r\n", PLAIN + b"\r\n") == [
        Auth(Mechanism.PLAIN, Challenge(b"")),
        Auth(Mechanism.PLAIN, Claim("", "alice", "secret")),
    ]


def test_auth_login():
    events = told(b"AUTH LOGIN\r\n", b"YWxpY2U=\r\n", b"c2VjcmV0\r\n", b"NOOP\r\n")
    assert [event.step for event in events[:3]] == [
        Challenge(b"Username:"),
        Challenge(b"Password:"),
        Claim("", "alice", "secret"),
    ]
    assert events[3] == Noop()


def test_auth_login_with_an_initial_response():
    events = told(b"AUTH LOGIN YWxpY2U=\r\n", b"c2VjcmV0\r\n")
    assert [event.step for event in events] == [Challenge(b"Password:"), Claim("", "alice", "secret")]


def test_auth_with_an_empty_initial_response():
    """RFC 4954 4: `=`."""
    events = told(b"AUTH PLAIN =\r\n")
    assert isinstance(events[0].step, SaslFault)


def test_a_star_cancels():
    run = Run().feed(b"AUTH LOGIN\r\n", b"*\r\n", b"NOOP\r\n")
    assert run.codes == [334, 501, 250]


def test_what_is_no_base64_is_a_fault_and_ends_the_exchange():
    def judge(event):
        if isinstance(event, Auth) and isinstance(event.step, SaslFault):
            return reply(501, "5.5.2", "no")
        return fixed_reply(event)

    assert codes(b"AUTH PLAIN\r\n", b"not base64\r\n", b"NOOP\r\n", answer=judge) == [334, 501, 250]
    assert codes(b"AUTH PLAIN a=b\r\n", b"NOOP\r\n", answer=judge) == [501, 250]


def test_a_second_auth_is_refused():
    assert codes(b"AUTH PLAIN " + PLAIN + b"\r\n", b"AUTH PLAIN " + PLAIN + b"\r\n") == [235, 503]


def test_a_response_in_an_exchange_is_never_a_command():
    run = Run().feed(b"AUTH LOGIN\r\nQUIT\r\n")
    assert not any(isinstance(event, Quit) for event in run.told)


def test_long_responses_are_read():
    """RFC 4954 4: 12,288 octets."""
    long_one = base64.b64encode(b"\0alice\0" + b"x" * 9_000)
    assert 12_000 < len(long_one) <= 12_288
    assert codes(b"AUTH PLAIN " + long_one + b"\r\n") == [235]
    assert codes(b"AUTH PLAIN\r\n", long_one + b"\r\n") == [334, 235]
    assert codes(b"AUTH PLAIN " + b"A" * 20_000 + b"\r\n", b"NOOP\r\n") == [500, 250]
    assert codes(b"AUTH PLAIN\r\n", b"A" * 20_000 + b"\r\n", b"NOOP\r\n") == [334, 500, 250]


# --- any split --------------------------------------------------------------------------------------------------------

SCRIPTS = [
    b"EHLO x\r\n" + MAIL + RCPT + b"DATA\r\nSubject: a\r\n\r\n..dot\r\n..\r\nend\r\n.\r\nQUIT\r\n",
    MAIL + RCPT + b"DATA\r\n.\r\n" + MAIL + RCPT + b"BDAT 3\r\nab\rBDAT 5 LAST\r\n\n.\r\nzNOOP\r\n",
    b"NOOP " + b"x" * 2100 + b"\r\nNO\nOP\r\nNOOP\r\nEHLO \xff\r\n\r\n",
    b"AUTH PLAIN\r\n" + PLAIN + b"\r\nAUTH LOGIN\r\nMAIL FROM:<a@b.example> SIZE=5 XFOO\r\n" + MAIL,
    b"AUTH LOGIN " + b"A" * 17_000 + b"\r\nAUTH LOGIN\r\n*\r\nBDAT 4\r\nQUITHELP\r\n",
]


@settings(max_examples=300)
@given(script=st.sampled_from(SCRIPTS), cuts=st.lists(st.integers(0, 10**6), max_size=30))
def test_any_split_tells_and_sends_the_same(script, cuts):
    whole, in_pieces = Run().feed(script), Run().feed_cut(script, cuts)
    assert in_pieces.told == whole.told
    assert in_pieces.sent == whole.sent
    assert in_pieces.content == whole.content


@pytest.mark.parametrize("script", SCRIPTS)
def test_octet_by_octet_tells_and_sends_the_same(script):
    whole = Run().feed(script)
    bytewise = Run().feed(*(script[n : n + 1] for n in range(len(script))))
    assert (bytewise.told, bytewise.sent, bytewise.content) == (whole.told, whole.sent, whole.content)


LINES = st.sampled_from(
    [MAIL, RCPT, b"DATA\r\n", b"BDAT 3\r\n", b"BDAT 2 LAST\r\n", b"abc", b".\r\n", b"\r\n.\r\n", b"x\n", b"RSET\r\n",
     b"EHLO x\r\n", b"AUTH LOGIN\r\n", b"*\r\n", b"\0\r\n", b"\r", b"\n", b"QUIT\r\n", b"foo\r\n", b"BDAT x\r\n"]
)  # fmt: skip


@settings(max_examples=300)
@given(st.lists(LINES, max_size=25), st.lists(st.integers(0, 10**6), max_size=10))
def test_any_conversation_any_split(lines, cuts):
    """One answer for each event, whatever comes; and never one that depends on the cut."""
    script = b"".join(lines)
    whole, in_pieces = Run().feed(script), Run().feed_cut(script, cuts)
    assert in_pieces.told == whole.told
    assert in_pieces.sent == whole.sent
    if not any(getattr(event, "faults", None) for event in whole.told):
        assert in_pieces.content.startswith(whole.content) or whole.content.startswith(in_pieces.content)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_no_octets_raise(segments):
    run = Run().feed(*segments)
    assert len(run.codes) == len(run.told)


def test_bdat_pieces_after_commands_of_all_cuts():
    """Every pair of cuts, once, for the smallest interesting script."""
    script = MAIL + RCPT + b"BDAT 2\r\n\r\nBDAT 1 LAST\r\n.NOOP\r\n"
    whole = Run().feed(script)
    for first, second in itertools.combinations(range(len(script)), 2):
        run = Run().feed(script[:first], script[first:second], script[second:])
        assert (run.told, run.content) == (whole.told, whole.content)
