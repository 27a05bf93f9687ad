"""From an attempt's outcome through the queue to the report in the sender's mailbox, for many causes."""

import email
import email.policy

import pytest

from mailserver.mail.envelope import Notify, OriginalRecipient, Recipient, Ret
from mailserver.mail.outcome import Bounced, Deferred, Delivered, Stage
from mailserver.mail.reply import Reply
from mailserver.mail.route import SmarthostRoute, SmarthostTls
from mailserver.ports import LocalMailboxes
from mailserver.store.spool_format import SpoolPaths
from tests.fakes.directory import box
from tests.fakes.relay import CONTENT, DAY, HOUR, LATER, NO, OK, Office

HOST = "mx.example.net[192.0.2.1]"
HOST6 = "mx.example.net[2001:db8::1]"
YOU, OUR_ADMIN, THEIR_ADMIN = "you.", "your mail administrator;", "the administrator of the recipient's mail server;"
HERE = "the administrator of this mail server;"


@pytest.fixture
def office(tmp_path):
    office = Office(tmp_path / "state")
    yield office
    assert office.failures == []


def reports(office, to="alice@example.org"):
    """What was filed for this mailbox, parsed; the text as one line."""
    found = [
        email.message_from_bytes(octets, policy=email.policy.SMTP)
        for mailbox, octets in office.mailboxes.filed
        if mailbox == to
    ]
    return [message for message in found if message.get_content_type() == "multipart/report"]


def text(message) -> str:
    return " ".join(message.get_payload(0).get_content().split())


def refused(code, enhanced, words, stage=Stage.RCPT, host=HOST):
    kind = Bounced("refused", stage, enhanced, Reply(code, enhanced, (words,)), host) if code >= 500 else None
    return kind or Deferred("put off", stage, Reply(code, enhanced, (words,)), host)


# outcome, subject in brackets, what the remedy says, who
AT_ONCE = [
    (refused(550, "5.1.1", "User unknown"), "no such mailbox", "Check the address for spelling", YOU),
    (
        refused(550, "5.2.1", "The email account that you tried to reach is disabled"),
        "mailbox disabled",
        "Reach the recipient in another way",
        YOU,
    ),
    (refused(552, "5.2.2", "Mailbox full"), "mailbox full", "make room", "the recipient;"),
    (
        refused(552, "5.3.4", "Message size exceeds fixed limit", Stage.MAIL),
        "message too large",
        "Send a smaller message",
        YOU,
    ),
    (
        Bounced("the message is too large for the host: 30.0 MB, and it takes 10.0 MB", Stage.EHLO, "5.3.4", host=HOST),
        "message too large",
        "Send a smaller message",
        YOU,
    ),
    (
        refused(554, "5.7.1", "This message was classified as spam", Stage.EOD),
        "taken for spam",
        "Write it differently",
        YOU,
    ),
    (
        refused(552, "5.7.0", "This message was blocked because its attachment contains a virus", Stage.EOD),
        "attachment refused",
        "pass the file on in another way",
        YOU,
    ),
    (
        refused(550, "5.7.25", "The IP address has no PTR record", Stage.EOD),
        "our server has no reverse name",
        "reverse name",
        OUR_ADMIN,
    ),
    (
        refused(550, "5.7.25", "The IP address has no PTR record", Stage.EOD, HOST6),
        "our IPv6 address has no reverse name",
        "Send over IPv4",
        OUR_ADMIN,
    ),
    (
        refused(554, "5.7.1", "Service unavailable; Client host [192.0.2.9] blocked using zen.spamhaus.org"),
        "our server is on a block list",
        "ask for its removal",
        OUR_ADMIN,
    ),
    (
        refused(550, "5.7.26", "DMARC policy of example.org is reject; message is not authenticated", Stage.EOD),
        "DMARC",
        "SPF or DKIM passes",
        OUR_ADMIN,
    ),
    (refused(550, "5.7.23", "SPF validation failed", Stage.EOD), "SPF", "SPF record", OUR_ADMIN),
    (refused(554, "5.7.1", "Relay access denied"), "relaying denied", "points (MX)", THEIR_ADMIN),
    (
        refused(550, "5.4.5", "Daily user sending quota exceeded", Stage.MAIL),
        "sending limit reached",
        "again tomorrow",
        YOU,
    ),
    (refused(554, "5.4.6", "Too many hops", Stage.EOD), "mail loop", "has to be mended", THEIR_ADMIN),
    (Bounced("the domain example.net does not exist", Stage.DNS, "5.1.2"), "domain not found", "behind the @", YOU),
    (
        Bounced("the domain example.net does not take mail (null MX)", Stage.DNS, "5.1.10"),
        "domain takes no mail",
        "behind the @",
        YOU,
    ),
    (
        Bounced("the host does not know SMTPUTF8, which this message needs", Stage.EHLO, "5.6.7", host=HOST),
        "address not in ASCII",
        "plain letters",
        YOU,
    ),
    (refused(550, "5.7.1", "Computer says no; ask the oracle"), "", "Read what the other server said", OUR_ADMIN),
]


@pytest.mark.parametrize(("outcome", "why", "remedy", "who"), AT_ONCE)
def test_a_bounce_says_what_it_means_what_to_do_and_who(office, outcome, why, remedy, who):
    office.transmitter.answer = lambda route, recipient: outcome
    office.put("bob@example.net", source="[192.0.2.7:4711] alice@example.org ESMTPSA")
    office.settle()
    (message,) = reports(office)
    said = text(message)
    assert message["Subject"] == "Not delivered: bob@example.net" + (f" ({why})" if why else "")
    assert remedy in said.partition("What to do: ")[2].partition("Who can do it: ")[0]
    assert said.partition("Who can do it: ")[2].startswith(who)
    if outcome.reply is not None:
        assert str(outcome.reply) in said, "the words of the other side are always there"
    assert "it is tried again by itself" not in said, "nobody tries any more"


# outcome of each attempt, subject in brackets, remedy after days, who then, who may be asked at the delay notice
AFTER_DAYS = [
    (Deferred("connection refused", Stage.CONNECT, host=HOST), "server not reachable", "has to be mended", THEIR_ADMIN),
    (
        Deferred("no connection within 30 s", Stage.CONNECT, host=HOST),
        "server does not answer",
        "has to be mended",
        THEIR_ADMIN,
    ),
    (
        Deferred("DNS could not tell the mail hosts of example.net: SERVFAIL", Stage.DNS),
        "DNS does not answer",
        "DNS of that domain",
        THEIR_ADMIN,
    ),
    (LATER, "greylisted", "ends within hours", OUR_ADMIN),
    (
        refused(421, "4.3.2", "Server busy, try again later", Stage.BANNER),
        "server busy",
        "has to be mended",
        THEIR_ADMIN,
    ),
    (
        refused(421, "4.7.0", "Too many messages from your address, slow down", Stage.MAIL),
        "too much mail at once",
        "limits yours",
        OUR_ADMIN,
    ),
    (refused(452, "4.2.2", "Mailbox full"), "mailbox full", "make room", "the recipient;"),
    (
        refused(450, "4.7.1", "Client host rejected: cannot find your reverse hostname"),
        "our server has no reverse name",
        "reverse name",
        OUR_ADMIN,
    ),
    (
        Deferred("the connection broke while waiting for the banner: closed", Stage.BANNER, host=HOST),
        "server does not answer",
        "has to be mended",
        THEIR_ADMIN,
    ),
]


@pytest.mark.parametrize(("outcome", "why", "remedy", "who"), AFTER_DAYS)
def test_days_of_trying_end_with_somebody_who_can_act(office, outcome, why, remedy, who):
    office.transmitter.answer = lambda route, recipient: outcome
    office.put("bob@example.net", source="[192.0.2.7:4711] alice@example.org ESMTPSA")
    for _ in range(140):
        office.advance(HOUR)
    late, bounce = reports(office)
    assert late["Subject"] == f"Delayed: bob@example.net ({why})"
    assert "It is tried until" in text(late)
    assert bounce["Subject"] == f"Not delivered: bob@example.net ({why})"
    said = text(bounce)
    assert "times in 5 days and then given up" in said
    assert remedy in said.partition("What to do: ")[2].partition("Who can do it: ")[0]
    assert said.partition("Who can do it: ")[2].startswith(who)
    assert "tried again by itself" not in said


def test_a_delay_that_does_not_heal_by_waiting_says_so(office):
    office.transmitter.answer = lambda route, recipient: AFTER_DAYS[7][0]
    office.put("bob@example.net")
    for _ in range(6):
        office.advance(HOUR)
    (late,) = reports(office)
    assert "Who can do it: your mail administrator" in text(late)
    assert "Nothing now" not in text(late)


def test_a_delay_that_heals_by_waiting_names_who_may_be_asked(office):
    office.transmitter.answer = lambda route, recipient: LATER
    office.put("bob@example.net")
    for _ in range(6):
        office.advance(HOUR)
    (late,) = reports(office)
    assert "Who can do it: nobody; only time helps." in text(late)
    assert "If it takes too long, your mail administrator can find out more." in text(late)


def test_trouble_with_our_smarthost_is_not_put_on_the_recipient(office):
    route = SmarthostRoute("smtp.isp.example", 587, SmarthostTls.STARTTLS, None, None)
    office.local["bob@example.net"] = route
    office.transmitter.answer = lambda route, recipient: Deferred(
        "connection refused", Stage.CONNECT, host="smtp.isp.example[192.0.2.3]"
    )
    office.put("bob@example.net")
    for _ in range(140):
        office.advance(HOUR)
    _, bounce = reports(office)
    assert "Nothing is wrong with the address" in text(bounce)
    assert "Who can do it: your mail administrator" in text(bounce)


def test_a_refusal_of_forwarded_mail_is_called_that(office, tmp_path):
    """The sender is a stranger, and came without a login; Bob's mail was passed on to another server."""
    dmarc = refused(550, "5.7.26", "DMARC policy of outside.example is reject; message is not authenticated", Stage.EOD)
    office.transmitter.answer = lambda route, recipient: LATER if "outside" in str(recipient.mailbox) else dmarc
    office.put("bob@elsewhere.example", sender="eve@outside.example", source="[192.0.2.9:25] ESMTP")
    office.settle()
    assert office.words("report") == ["report"]
    (waiting,) = office.spool.ids()
    octets = SpoolPaths(tmp_path / "state").message(waiting).read_bytes().partition(b"\n\n")[2]
    message = email.message_from_bytes(octets, policy=email.policy.SMTP)
    assert message["Subject"] == "Not delivered: bob@elsewhere.example (forwarded mail refused)"


def test_thirty_recipients_with_one_reason_are_told_in_one_page(office):
    def answer(route, recipient):
        if "full" in str(recipient.mailbox):
            return refused(552, "5.2.2", "Mailbox full")
        return refused(550, "5.1.1", f"<{recipient.mailbox}>: Recipient address rejected: User unknown")

    office.transmitter.answer = answer
    people = [f"person{number}@example.net" for number in range(28)] + ["full1@example.net", "full2@example.net"]
    office.put(*people)
    office.settle()
    (message,) = reports(office)
    said = message.get_payload(0).get_content()
    assert message["Subject"] == "Not delivered: person0@example.net and 29 others"
    assert all(f"<{one}>" in said for one in people)
    assert said.count("What it means:") == 2
    assert text(message).count("User unknown") == 1
    assert len(said.splitlines()) < 80
    blocks = message.get_payload(1).get_payload()[1:]
    assert len(blocks) == 30
    assert all(str(block["Final-Recipient"]).removeprefix("rfc822; ") in people for block in blocks)
    assert "person17@example.net" in " ".join(blocks[17]["Diagnostic-Code"].split())


def test_ret_full_and_all_the_parameters_of_the_sender_come_back(office):
    office.transmitter.answer = lambda route, recipient: NO
    orcpt = OriginalRecipient("rfc822", "robert@example.org")
    office.put(Recipient(box("bob@example.net"), frozenset({Notify.FAILURE}), orcpt), ret=Ret.FULL, envid="QQ 314159")
    office.settle()
    (message,) = reports(office)
    about, bob = message.get_payload(1).get_payload()
    assert about["Original-Envelope-Id"] == "QQ 314159"
    assert bob["Original-Recipient"] == "rfc822; robert@example.org"
    assert "(you wrote to robert@example.org)" in text(message)
    assert message.get_payload(2).get_content_type() == "message/rfc822"
    assert CONTENT in office.mailboxes.filed[-1][1]


def test_success_is_told_in_the_same_plain_way(office):
    office.put(Recipient(box("bob@example.net"), frozenset({Notify.SUCCESS})))
    office.settle()
    (message,) = reports(office)
    assert message["Subject"] == "Handed on: bob@example.net"
    assert "250 2.0.0 queued as 1" in text(message)
    assert "What to do" not in text(message)


# --- no backscatter ---------------------------------------------------------------------------------------------------


def with_postmaster(office):
    office.local["postmaster@example.org"] = LocalMailboxes((box("bob@example.org"),))


def test_a_bounce_that_reaches_nobody_is_given_to_the_postmaster_once(office):
    with_postmaster(office)
    office.transmitter.answer = lambda route, recipient: NO
    office.put("nobody@example.net", sender="forged@outside.example")
    for _ in range(10):
        office.advance(DAY)
    (message,) = reports(office, "bob@example.org")
    assert message["Subject"] == "Report not delivered: forged@outside.example (no such mailbox)"
    assert message["To"] == "postmaster@example.org"
    assert "Return-Path: <>" in office.mailboxes.filed[-1][1].decode()
    assert "A report of this server could not be delivered" in text(message)
    inner = message.get_payload(2).get_payload(0)
    assert inner["Subject"] == "Not delivered: nobody@example.net (no such mailbox)", "the whole report is given back"
    assert len(office.mailboxes.filed) == 1
    assert office.on_disk() == []


def test_a_bounce_that_waits_is_given_to_the_postmaster_at_its_expiry_also_after_a_restart(office):
    with_postmaster(office)
    office.transmitter.answer = lambda route, recipient: NO if "nobody" in str(recipient.mailbox) else LATER
    office.put("nobody@example.net", sender="away@outside.example")
    for day in range(12):
        office.advance(DAY / 2)
        if day == 4:
            office.restart()
    assert len(reports(office, "bob@example.org")) == 1
    assert office.on_disk() == []


@pytest.mark.parametrize("notify", [Notify.SUCCESS, Notify.DELAY])
def test_success_reports_and_delay_notices_that_reach_nobody_are_dropped(office, notify):
    with_postmaster(office)

    def answer(route, recipient):
        if "outside" in str(recipient.mailbox):
            return NO
        return (
            Delivered(OK.reply, OK.host) if notify is Notify.SUCCESS or office.clock.monotonic() > 9 * HOUR else LATER
        )

    office.transmitter.answer = answer
    office.put(Recipient(box("carl@example.net"), frozenset({notify})), sender="forged@outside.example")
    for _ in range(24):
        office.advance(HOUR)
    assert office.words("report") == ["report"]
    assert office.words("report-dropped") == ["report-dropped"]
    assert office.mailboxes.filed == []
    assert office.on_disk() == []


def test_a_strangers_message_with_the_null_path_is_no_double_bounce(office):
    """It looks like a report of ours, but its Message-ID does not hold its own queue id."""
    with_postmaster(office)
    office.transmitter.answer = lambda route, recipient: NO
    content = b"Message-ID: <000000000000R@mail.example.org>\r\nSubject: x\r\n\r\n\r\nAction: failed\r\n"
    office.put("nobody@example.net", sender=None, content=content)
    office.settle()
    assert office.words("report") == []
    assert office.words("report-dropped") == ["report-dropped"]


def test_nothing_of_a_message_keeps_its_sender_from_being_told(office):
    """Deviation from what some programs guess: RFC 3834 is about answers of programs that play a person."""
    office.transmitter.answer = lambda route, recipient: NO
    office.put(
        "nobody@example.net",
        content=b"Auto-Submitted: auto-generated\r\nPrecedence: bulk\r\nList-Id: <l.example.org>\r\n\r\nhi\r\n",
    )
    office.settle()
    assert len(reports(office)) == 1
