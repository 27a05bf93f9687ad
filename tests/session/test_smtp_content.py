"""What becomes of a content: where it is filed, what is put before it, what is refused, what fails."""

import pytest
from twisted.logger import globalLogPublisher

from mailserver.mail.envelope import Notify
from mailserver.ports import Overloaded, Report, StorageFull, StorageTrouble, Then
from mailserver.session.smtp_profile import SmtpSettings
from tests.fakes.awaiting import run
from tests.fakes.directory import box
from tests.fakes.smtp import World, example_directory

MESSAGE = b"Subject: hi\r\n\r\nhello\r\n"


def test_what_is_filed_octet_for_octet():
    client = World().connect()
    client.say("EHLO client.example\r\n")
    assert client.send(MESSAGE) == "250 2.0.0 0000000000001 accepted\r\n"
    assert client.stored[0].as_filed() == (
        b"Return-Path: <far@outside.example>\r\n"
        b"Delivered-To: alice@example.test\r\n"
        b"Received: from client.example ([192.0.2.7])\r\n"
        b"\tby mail.example.test with ESMTP\r\n"
        b"\tid 0000000000001 for <alice@example.test>;\r\n"
        b"\tSun, 15 Jun 2025 15:06:40 +0000\r\n" + MESSAGE
    )


def test_the_null_reverse_path_stays_null():
    client = World().connect()
    client.send(sender="")
    assert client.stored[0].as_filed().startswith(b"Return-Path: <>\r\n")


def test_received_names_a_recipient_only_when_it_is_the_only_one():
    """RFC 5321 7.2: blind copies stay blind."""
    client = World().connect()
    client.send(to=("alice@example.test", "bob@example.test"))
    assert b" for " not in client.stored[0].acceptance.received


@pytest.mark.parametrize(
    ("hello", "shown"),
    [
        ("EHLO a.example", b"from a.example ([192.0.2.7])"),
        ("HELO a.example", b"from a.example ([192.0.2.7])"),
        ("EHLO [127.0.0.1]", b"from [127.0.0.1] ([192.0.2.7])"),
        ("EHLO my pc", b"from my?pc ([192.0.2.7])"),
        ("EHLO x (y) by z; with", b"from x??y??by?z??with ([192.0.2.7])"),
        ("EHLO ü.example", b"from ?.example ([192.0.2.7])"),
        ("NOOP", b"from [192.0.2.7] ([192.0.2.7])"),
    ],
)
def test_the_hello_cannot_break_received(hello, shown):
    client = World().connect()
    client.say(hello + "\r\n")
    client.send()
    received = client.stored[0].acceptance.received
    assert received.startswith(b"Received: " + shown + b"\r\n\tby ")
    assert received.count(b"\r\n") == 4


@pytest.mark.parametrize(("hello", "protocol"), [("HELO x", b"with SMTP\r\n"), ("EHLO x", b"with ESMTP\r\n")])
def test_protocol_in_received(hello, protocol):
    client = World().connect()
    client.say(hello + "\r\n")
    client.send()
    assert protocol in client.stored[0].acceptance.received


def test_smtputf8_shows_in_received():
    client = World(example_directory()).connect()
    client.commands("EHLO x", "MAIL FROM:<ü@b.example> SMTPUTF8", "RCPT TO:<alice@example.test>", "DATA")
    client.say("Subject: ü\r\n\r\nx\r\n.\r\n")
    assert b"with UTF8SMTP\r\n" in client.stored[0].acceptance.received
    assert client.stored[0].as_filed().startswith("Return-Path: <ü@b.example>\r\n".encode())


@pytest.mark.parametrize(
    ("content", "stored"),
    [
        (b"", b""),
        (b"\r\n", b"\r\n"),
        (b"\r\nbody\r\n", b"\r\nbody\r\n"),
        (b"body only\r\n", b"\r\nbody only\r\n"),  # or it would be read as a broken field of ours
        (b" folded: no\r\n", b"\r\n folded: no\r\n"),
        (b"Subject: x\r\n", b"Subject: x\r\n"),
        (b"Subject: x\r\nno empty line\r\n", b"Subject: x\r\nno empty line\r\n"),
        (b"Return-Path: <x@y.example>\r\n\r\nx\r\n", b"Return-Path: <x@y.example>\r\n\r\nx\r\n"),  # left alone
        (b"Bcc: x@y.example\r\n\r\nx\r\n", b"Bcc: x@y.example\r\n\r\nx\r\n"),  # a stranger's header is not ours to edit
    ],
)
def test_content_is_not_changed_but_for_a_missing_empty_line(content, stored):
    client = World().connect()
    assert client.send(content).startswith("250")
    assert client.stored[0].content == stored


@pytest.mark.parametrize(
    "body", [b"x" * 998, b"x" * 5_000, b"x" * 200_000, b"\x80\xff" * 50, "ü\u2028".encode(), b".dot"]
)
def test_bodies_pass_unchanged(body):
    content = b"Subject: x\r\n\r\n" + body + b"\r\n"
    client = World().connect()
    assert client.send(content.replace(b"\r\n.", b"\r\n..")).startswith("250")
    assert client.stored[0].content == content


def test_bdat_content_without_a_final_crlf_gets_one():
    client = World().connect()
    client.commands("MAIL FROM:<a@b.example>", "RCPT TO:<alice@example.test>")
    assert client.say(b"BDAT 12\r\nSubject: x\r\n") == "250 2.0.0 12 octets received\r\n"
    assert client.say(b"BDAT 7 LAST\r\n\r\nhello").startswith("250 2.0.0 0000000000001")
    assert client.stored[0].content == b"Subject: x\r\n\r\nhello\r\n"


# --- recipients -------------------------------------------------------------------------------------------------------


def test_recipients_of_one_mailbox_make_one_copy():
    client = World().connect()
    client.send(to=("alice@example.test", "alice+x@example.test", "sales@example.test", "postmaster"))
    acceptance = client.stored[0].acceptance
    assert [str(copy.mailbox) for copy in acceptance.local] == ["alice@example.test", "bob@example.test"]
    assert [str(recipient.mailbox) for recipient in acceptance.local[0].recipients] == [
        "alice@example.test",
        "alice+x@example.test",
        "sales@example.test",
        "postmaster",
    ]
    assert acceptance.local[1].trace.endswith(b"Delivered-To: bob@example.test\r\n")
    assert acceptance.remote == ()


def test_an_alias_to_outside_goes_to_the_queue_with_the_address_that_was_used():
    """RFC 3461 5.2.7."""
    client = World().connect()
    client.commands("MAIL FROM:<a@b.example>", "RCPT TO:<friend@example.test> NOTIFY=FAILURE", "DATA")
    client.say(MESSAGE + b".\r\n")
    (remote,) = client.stored[0].acceptance.remote
    assert remote.mailbox == box("friend@far.example")
    assert remote.notify == frozenset({Notify.FAILURE})
    assert (remote.orcpt.address_type, remote.orcpt.address) == ("rfc822", "friend@example.test")


def test_a_mailbox_in_trouble_does_not_fail_the_others():
    """Promise 2."""
    world = World()
    world.committer.broken.add("bob@example.test")
    client = world.connect()
    assert client.send(to=("alice@example.test", "bob@example.test")).startswith("250")
    assert world.lines("filed") == ["0000000000001 filed mailbox=alice@example.test recipient=alice@example.test"]
    assert world.lines("queued") == [
        '0000000000001 queued recipients=bob@example.test reason="the mailbox cannot be written"'
    ]


def success_report(asked):
    def make(acceptance, recipients, header):
        asked.append((acceptance.queue_id, [str(one.mailbox) for one in recipients], header))
        return Report(acceptance.queue_id, acceptance.envelope, b"report")

    return make


def test_a_success_report_is_part_of_the_same_acceptance():
    """RFC 3461 6.2; design promise 1."""
    asked = []
    world = World(make_success_report=success_report(asked))
    client = world.connect()
    client.commands(
        "MAIL FROM:<a@b.example> RET=HDRS ENVID=q1",
        "RCPT TO:<alice@example.test> NOTIFY=SUCCESS",
        "RCPT TO:<bob@example.test> NOTIFY=FAILURE",
        "DATA",
    )
    client.say(MESSAGE + b".\r\n")
    assert asked == [("0000000000001", ["alice@example.test"], b"Subject: hi\r\n")]
    success = client.stored[0].acceptance.success
    assert success.report.content == b"report"
    assert [str(one.mailbox) for one in success.recipients] == ["alice@example.test"]
    # When one copy has to wait, the report about the others has the same message as its subject.
    assert success.fewer(success.recipients) == success.report
    assert asked[1] == asked[0]
    assert client.stored[0].acceptance.envelope.envid == "q1"


def test_no_report_unless_asked_for():
    asked = []
    world = World(make_success_report=success_report(asked))
    world.connect().send()
    assert asked == []


# --- loops ------------------------------------------------------------------------------------------------------------


def test_too_many_hops():
    """RFC 5321 6.3."""
    client = World().connect()
    assert client.send(b"Received: x\r\n" * 101 + b"\r\nx\r\n").startswith("554 5.4.6")
    assert client.send(b"Received: x\r\n" * 100 + b"\r\nx\r\n").startswith("250")
    assert client.send(b"Subject: x\r\n\r\n" + b"Received: x\r\n" * 200).startswith("250")  # not in the header


def test_a_mailbox_that_had_it_before_is_a_loop():
    world = World()
    client = world.connect()
    content = b"Delivered-To: Alice@example.test\r\n\r\nx\r\n"
    assert client.send(content).startswith("554 5.4.6")
    assert client.stored == []
    assert client.send(content, to=("alice@example.test", "bob@example.test")).startswith("250")
    assert [str(copy.mailbox) for copy in client.stored[0].acceptance.local] == ["bob@example.test"]
    assert "about=alice@example.test" in world.lines("refused")[-1]


def test_delivered_to_of_somebody_else_is_no_loop():
    assert World().connect().send(b"Delivered-To: alice@far.example\r\n\r\nx\r\n").startswith("250")
    assert World().connect().send(b"Subject: x\r\n\r\nDelivered-To: alice@example.test\r\n").startswith("250")


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reply"),
    [
        (b"a\nb\r\n", "554 5.6.0 The message holds a CR or LF alone"),
        (b"a\rb\r\n", "554 5.6.0 The message holds a CR or LF alone"),
        (b"a\0b\r\n", "554 5.6.0 The message holds a NUL"),
        (b"x" * 2000 + b"\r\n", "552 5.3.4 Message too big"),
        (b"x" * 2000 + b"\n\0\r\n", "552 5.3.4 Message too big"),
    ],
)
def test_faulty_content_is_refused_after_its_end_and_the_session_goes_on(content, reply):
    client = World().connect(settings=SmtpSettings("mail.example.test", max_message_octets=1000))
    assert client.send(content).startswith(reply)
    assert client.stored == []
    assert client.send().startswith("250")


def test_a_size_that_lied_is_found():
    client = World().connect(settings=SmtpSettings("mail.example.test", max_message_octets=1000))
    client.commands("MAIL FROM:<a@b.example> SIZE=10", "RCPT TO:<alice@example.test>", "DATA")
    assert client.say(b"x" * 1500 + b"\r\n.\r\n").startswith("552 5.3.4")


def test_a_faulty_chunk_ends_the_transaction():
    client = World().connect()
    client.commands("MAIL FROM:<a@b.example>", "RCPT TO:<alice@example.test>")
    assert client.say(b"BDAT 3\r\na\nbBDAT 1 LAST\r\nx").splitlines() == [
        "554 5.6.0 The message holds a CR or LF alone; lines end with CRLF",
        "503 5.5.1 MAIL first",
    ]
    assert client.send().startswith("250")


# --- large contents ---------------------------------------------------------------------------------------------------

LARGE = b"Subject: big\r\n\r\n" + b"0123456789abcdef" * 64 * 1024 + b"\r\n"


def feed(client, content, size=50_000):
    for place in range(0, len(content), size):
        reply = client.say(content[place : place + size])
    return reply


def begin(client):
    client.commands("MAIL FROM:<far@outside.example>", "RCPT TO:<alice@example.test>", "DATA")


def test_a_large_content_streams_to_disk():
    client = World().connect()
    begin(client)
    assert feed(client, LARGE + b".\r\n").startswith("250")
    (stored,) = client.stored
    assert stored.was_large
    assert stored.content == LARGE
    assert max(map(len, client.world.committer.writers[0].pieces)) <= 256 * 1024 + 50_000


def test_a_small_content_does_not():
    client = World().connect()
    begin(client)
    assert feed(client, LARGE[: 200 * 1024] + b"\r\n.\r\n").startswith("250")
    assert not client.stored[0].was_large


def test_the_driver_waits_when_the_disk_is_slow():
    world = World()
    world.committer.hold = object()
    client = world.connect()
    begin(client)
    feed(client, LARGE)
    assert len(client.waits) == len(world.committer.writers[0].pieces)
    assert set(client.waits) == {world.committer.hold}


@pytest.mark.parametrize("tail", [b"\0\r\n.\r\n", b"a\nb\r\n.\r\n"])
def test_a_fault_at_the_end_of_a_large_content_discards_it(tail):
    client = World().connect()
    begin(client)
    assert feed(client, LARGE + tail).startswith("554 5.6.0")
    assert client.stored == []
    assert client.world.committer.writers[0].is_discarded


def test_a_large_content_over_the_limit_is_discarded():
    client = World().connect(settings=SmtpSettings("mail.example.test", max_message_octets=500_000))
    begin(client)
    assert feed(client, LARGE + b".\r\n").startswith("552 5.3.4")
    assert client.world.committer.writers[0].is_discarded


def test_a_large_loop_is_refused_at_its_end_and_never_written():
    client = World().connect()
    begin(client)
    assert feed(client, b"Delivered-To: alice@example.test\r\n" + LARGE + b".\r\n").startswith("554 5.4.6")
    assert client.world.committer.writers == []


@pytest.mark.parametrize(
    ("trouble", "reply"),
    [(StorageFull(), "452 4.3.1"), (StorageTrouble("x"), "451 4.3.0"), (Overloaded(), "451 4.3.0")],
)
def test_no_file_for_a_large_content(trouble, reply):
    world = World()
    world.committer.open_trouble = trouble
    client = world.connect()
    begin(client)
    assert feed(client, LARGE + b".\r\n").startswith(reply)


def test_a_connection_lost_within_a_large_content_leaves_nothing():
    client = World().connect()
    begin(client)
    feed(client, LARGE)
    client.session.lost("connection lost")
    assert client.world.committer.writers[0].is_discarded


def test_rset_between_large_chunks_discards_what_was_written():
    client = World().connect()
    client.commands("MAIL FROM:<far@outside.example>", "RCPT TO:<alice@example.test>")
    assert client.say(b"BDAT %d\r\n" % len(LARGE) + LARGE).startswith("250")
    writer = client.world.committer.writers[0]
    assert not writer.is_discarded
    client.say("RSET\r\n")
    assert writer.is_discarded
    assert client.send().startswith("250")


def test_a_large_content_in_chunks():
    client = World().connect()
    client.commands("MAIL FROM:<far@outside.example>", "RCPT TO:<alice@example.test>")
    assert client.say(b"BDAT %d\r\n" % len(LARGE) + LARGE).startswith("250")
    assert client.say(b"BDAT 3 LAST\r\nend").startswith("250")
    assert client.stored[0].content == LARGE + b"end\r\n"


def test_a_long_message_id_makes_a_short_line():
    world = World()
    world.connect().send(b"Message-ID: " + b"x" * 50_000 + b"\r\n\r\nx\r\n")
    assert len(world.lines("accepted")[0]) < 1_000


def test_a_content_octet_by_octet_is_held_in_few_objects():
    client = World().connect()
    begin(client)
    for _ in range(5_000):
        client.say(b"x")
    assert len(client.session._intake._pieces) <= 1024
    client.say(b"\r\n.\r\n")
    assert client.stored[0].content == b"\r\n" + b"x" * 5_000 + b"\r\n"


# --- trouble on our side ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "reply"),
    [
        (StorageFull("no space"), "452 4.3.1"),
        (StorageTrouble("read-only file system"), "451 4.3.0"),
        (Overloaded("too many wait"), "451 4.3.0"),
    ],
)
def test_trouble_is_temporary_and_logged(trouble, reply):
    """Promise 3. The public text says nothing of the inside."""
    world = World()
    world.committer.trouble = trouble
    client = world.connect()
    said = client.send()
    assert said.startswith(reply)
    assert str(trouble) not in said
    assert str(trouble) in world.lines("trouble")[0]
    world.committer.trouble = None
    assert client.send().startswith("250")


def test_unknown_trouble_is_temporary_and_its_traceback_is_logged():
    world, seen = World(), []
    world.committer.trouble = ZeroDivisionError("surprise")
    globalLogPublisher.addObserver(seen.append)
    try:
        assert world.connect().send().startswith("451 4.3.0")
    finally:
        globalLogPublisher.removeObserver(seen.append)
    assert any("log_failure" in event for event in seen)
    assert "surprise" in world.lines("trouble")[0]


def test_a_commit_under_way_is_not_disturbed_by_a_lost_connection():
    class Waiting:
        def __init__(self):
            self.is_lost = False

        async def commit(self, acceptance, content):
            client.session.lost("connection lost")
            return await world.committer.store(acceptance, content)

    world = World()
    waiting = Waiting()
    world.committer.commit = waiting.commit
    client = world.connect()
    assert client.send().startswith("250")
    assert len(world.committer.stored) == 1


@pytest.mark.parametrize("trouble", [None, StorageTrouble("sync failed")])
def test_a_large_commit_under_way_is_not_discarded_by_a_lost_connection(trouble):
    """Its file may have its final name already; the writer itself cleans up when it fails."""
    world = World()
    world.committer.trouble = trouble
    client = world.connect()
    begin(client)
    feed(client, LARGE)
    (writer,) = world.committer.writers
    commit = writer.commit

    async def lose_and_commit():
        client.session.lost("connection lost")
        return await commit()

    writer.commit = lose_and_commit
    assert client.say(b".\r\n").startswith("250" if trouble is None else "451")
    assert not writer.is_discarded
    assert len(world.committer.stored) == (trouble is None)


def test_our_mistake_leaves_a_clean_session():
    world = World()
    client = world.connect()
    client.commands("MAIL FROM:<a@b.example>")
    world.directory.account = None  # calling it raises
    client.machine.receive(b"RCPT TO:<alice@example.test>\r\n")
    with pytest.raises(TypeError):
        run(client.session.answer(client.machine.next_event()))
    client.session.lost("internal error")
    assert client.session._transaction is None


def test_a_421_closes():
    client = World().connect(settings=SmtpSettings("mail.example.test", max_errors=0))
    client.machine.receive(b"FOO\r\n")
    answer = run(client.session.answer(client.machine.next_event()))
    assert answer.then is Then.CLOSE
