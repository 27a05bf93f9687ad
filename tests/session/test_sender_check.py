"""SPF on port 25: for whom it is asked and when, what it costs, and what follows."""

import ipaddress
from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred

from mailserver.mail.dns import CannotTell
from mailserver.mail.envelope import Notify
from mailserver.policy.spf.result import SpfVerdict
from mailserver.session.authentication import Authentication, SpfSettings
from mailserver.session.sender_check import SenderCheck, spf_questions
from mailserver.session.smtp_profile import SMTP, SUBMISSION
from tests.fakes.awaiting import run, start
from tests.fakes.blocking import DirectBlocking
from tests.fakes.clock import FakeClock
from tests.fakes.smtp import SETTINGS, TLS, World
from tests.policy.spf.zone import ZoneResolver

ZONE = {
    "outside.example": [("TXT", "v=spf1 ip4:192.0.2.0/24 -all exp=why.outside.example")],
    "why.outside.example": [("TXT", "%{i} is not ours")],
    "mx.outside.example": [("TXT", "v=spf1 ip4:192.0.2.7 -all")],
}
FORGER = "203.0.113.9"
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 20_000


class Held(ZoneResolver):
    """Answers TXT questions only when `go` is called."""

    def __init__(self, zone):
        super().__init__(zone)
        self.waiting = []

    async def text(self, name):
        self.waiting.append(Deferred())
        await self.waiting[-1]
        return await super().text(name)

    def go(self):
        while self.waiting:
            self.waiting.pop(0).callback(None)


class Site(World):
    """A port 25 that asks SPF."""

    def __init__(self, zone=None, *, resolver=None, checks_loopback=False, **settings):
        super().__init__()
        self.resolver = resolver or ZoneResolver(ZONE if zone is None else zone)
        self.doors = replace(
            self.doors,
            authentication=Authentication(
                "mail.example.test",
                self.resolver,
                DirectBlocking(),
                self.clock,
                checks_dkim=False,
                spf=SpfSettings(**settings),
                checks_loopback=checks_loopback,
            ),
        )

    def stranger(self, **more):
        client = self.connect(SMTP, **more)
        client.say("EHLO mx.outside.example\r\n")
        return client

    def last(self):
        return self.committer.stored[-1]


@pytest.mark.parametrize("content", [b"Subject: x\r\n\r\nhello\r\n", LARGE])
def test_the_verdict_stands_above_our_received_and_in_the_log(content):
    site = Site()
    assert site.stranger().send(content).startswith("250")
    field = b" ".join(site.last().acceptance.received.partition(b"Received:")[0].split())
    assert field == (
        b"Authentication-Results: mail.example.test; "
        b"spf=pass (outside.example permits 192.0.2.7) smtp.mailfrom=far@outside.example; "
        b"spf=pass (mx.outside.example permits 192.0.2.7) smtp.helo=mx.outside.example"
    )
    assert site.last().acceptance.received.count(b"\r\nReceived:") == 1
    assert site.lines("authenticated") == [
        "0000000000001 authenticated [192.0.2.7:4711] "
        'spf="pass outside.example ip4:192.0.2.0/24","pass mx.outside.example ip4:192.0.2.7"'
    ]
    assert not site.last().acceptance.envelope.is_disowned


@pytest.mark.parametrize("content", [b"Subject: x\r\n\r\nhello\r\n", LARGE])
def test_a_fail_is_written_down_and_remembered_for_reports(content):
    site = Site()
    assert site.stranger(address=FORGER).send(content).startswith("250")
    acceptance = site.last().acceptance
    received = b" ".join(acceptance.received.split())
    assert b"spf=fail (outside.example does not permit 203.0.113.9)" in received
    assert acceptance.envelope.is_disowned


@pytest.mark.parametrize("content", [b"Subject: x\r\n\r\nhello\r\n", LARGE])
def test_a_fail_is_refused_when_so_configured_with_a_text_that_helps(content):
    site = Site(refuses_fail=True)
    assert site.stranger(address=FORGER).send(content) == (
        "550-5.7.23 outside.example does not permit 203.0.113.9 to send its mail (SPF)\r\n"
        "550-5.7.23 Send it through a server of outside.example, or ask its administrator to add 203.0.113.9 "
        "to its SPF record\r\n"
        "550 5.7.23 outside.example explains: 203.0.113.9 is not ours\r\n"
    )
    assert site.committer.stored == []
    assert site.committer.writers == []
    (line,) = site.lines("refused")
    assert "5.7.23" in line and "outside.example" in line


@pytest.mark.parametrize(
    "record",
    ["v=spf1 ~all", "v=spf1 ?all", "v=spf1 +all", "something else", "v=spf1 moo", "v=spf1 include:gone.example"],
)
def test_nothing_but_a_fail_is_refused(record):
    site = Site({"outside.example": [("TXT", record)]}, refuses_fail=True)
    assert site.stranger(address=FORGER).send().startswith("250")


def test_no_success_report_goes_to_a_forged_sender():
    made = []
    site = Site()
    site.doors = replace(site.doors, make_success_report=lambda *about: made.append(about))
    client = site.stranger(address=FORGER)
    client.commands("MAIL FROM:<far@outside.example>", "RCPT TO:<alice@example.test> NOTIFY=SUCCESS", "DATA")
    assert client.say("Subject: x\r\n\r\nx\r\n.\r\n").startswith("250")
    assert made == []
    assert site.last().acceptance.envelope.recipients[0].wants(Notify.SUCCESS)


def test_a_null_reverse_path_is_judged_by_helo():
    """RFC 7208 2.4."""
    site = Site()
    assert site.stranger(address=FORGER).send(sender="").startswith("250")
    assert b"spf=fail" in site.last().acceptance.received
    assert b"smtp.helo=mx.outside.example" in site.last().acceptance.received
    assert b"smtp.mailfrom" not in site.last().acceptance.received


@pytest.mark.parametrize("hello", ["HELO localhost", "EHLO [203.0.113.9]", "EHLO pc"])
def test_a_helo_that_is_no_name_says_nothing(hello):
    site = Site()
    client = site.connect(SMTP)
    client.say(f"{hello}\r\n")
    assert client.send().startswith("250")
    assert b"smtp.helo" not in site.last().acceptance.received


def test_who_is_refused_as_recipient_costs_no_question():
    site = Site()
    client = site.stranger()
    client.commands("MAIL FROM:<far@outside.example>", "RCPT TO:<nobody@example.test>", "RCPT TO:<x@far.example>")
    assert site.resolver.questions == []
    client.commands("RCPT TO:<alice@example.test>", "RCPT TO:<bob@example.test>")
    assert site.resolver.questions == [("TXT", "outside.example"), ("TXT", "mx.outside.example")]


def test_our_own_people_and_neighbors_are_not_asked_about():
    site = Site()
    client = site.connect(SUBMISSION, tls=TLS)
    client.say("EHLO pc\r\n")
    client.login()
    assert client.send(sender="alice@example.test").startswith("250")
    trusted = replace(SETTINGS, trusted_networks=(ipaddress.ip_network("192.0.2.0/24"),))
    assert site.stranger(settings=trusted).send().startswith("250")
    assert site.stranger(address="127.0.0.1").send().startswith("250")
    assert site.stranger(address="::1").send().startswith("250")
    assert site.resolver.questions == []
    assert not any(b"Authentication-Results" in one.acceptance.received for one in site.committer.stored)


def test_loopback_is_asked_about_when_so_configured():
    site = Site(checks_loopback=True)
    assert site.stranger(address="127.0.0.1").send().startswith("250")
    assert b"spf=fail (outside.example does not permit 127.0.0.1)" in site.last().acceptance.received


def test_received_spf_is_written_when_wanted():
    site = Site(writes_received_spf=True)
    for content in (b"Subject: x\r\n\r\nx\r\n", LARGE):
        assert site.stranger().send(content).startswith("250")
        received = site.last().acceptance.received
        places = [
            received.find(name) for name in (b"Authentication-Results:", b"\r\nReceived-SPF: pass", b"\r\nReceived:")
        ]
        assert -1 not in places and places == sorted(places)
        assert b'envelope-from="far@outside.example"' in received


def test_a_header_without_end_is_refused_because_forged_fields_might_follow():
    site = Site()
    client = site.stranger()
    client.commands("MAIL FROM:<far@outside.example>", "RCPT TO:<alice@example.test>", "DATA")
    assert client.say(b"X: y\r\n" * 50_000) == ""
    forged = b"Authentication-Results: mail.example.test; spf=pass\r\n\r\nx\r\n.\r\n"
    assert client.say(forged).startswith("552 5.3.4")


@pytest.mark.parametrize("body", [b"x\r\n", LARGE])
def test_a_forged_field_is_taken_out_of_a_strangers_message_only(body):
    site = Site()
    forged = b"Authentication-Results: (really)\r\n MAIL.example.test; spf=pass\r\n"
    assert site.stranger().send(forged + b"Subject: x\r\n\r\n" + body).startswith("250")
    assert site.last().content == b"Subject: x\r\n\r\n" + body
    assert site.stranger(address="127.0.0.1").send(forged + b"\r\n" + body).startswith("250")
    assert site.last().content == forged + b"\r\n" + body


# --- waiting ----------------------------------------------------------------------------------------------------------


def test_only_the_end_of_data_waits_for_dns():
    site = Site(resolver=Held(ZONE))
    client = site.stranger()
    replies = client.commands("MAIL FROM:<far@outside.example>", "RCPT TO:<alice@example.test>", "DATA")
    assert [reply[:3] for reply in replies] == ["250", "250", "354"]
    client.machine.receive(b"Subject: x\r\n\r\nx\r\n.\r\n")
    client.session.content(client.machine.next_event())
    waiting = start(client.session.answer(client.machine.next_event()))
    assert not waiting.called
    site.resolver.go()
    assert waiting.result.reply.code == 250
    assert b"spf=pass" in site.last().acceptance.received


def test_dns_that_never_answers_costs_the_time_for_it_and_then_nothing():
    site = Site(resolver=Held(ZONE), limit_s=7.0, refuses_fail=True)
    client = site.stranger()
    client.commands("MAIL FROM:<far@outside.example>", "RCPT TO:<alice@example.test>", "DATA")
    client.machine.receive(b"Subject: x\r\n\r\nx\r\n.\r\n")
    client.session.content(client.machine.next_event())
    waiting = start(client.session.answer(client.machine.next_event()))
    site.clock.advance(6.9)
    assert not waiting.called
    site.clock.advance(0.1)
    assert waiting.result.reply.code == 250
    assert b"spf=temperror" in site.last().acceptance.received
    assert not site.clock.twisted.getDelayedCalls()
    site.resolver.go()
    assert [kind for kind, _ in site.resolver.questions] == ["TXT", "TXT"]


def test_one_who_leaves_while_dns_is_asked_leaves_nothing_behind():
    site = Site(resolver=Held(ZONE))
    client = site.stranger()
    client.commands("MAIL FROM:<far@outside.example>", "RCPT TO:<alice@example.test>", "DATA")
    client.machine.receive(b"Subject: x\r\n\r\nx\r\n.\r\n")
    client.session.content(client.machine.next_event())
    waiting = start(client.session.answer(client.machine.next_event()))
    client.session.lost("gone")
    assert waiting.result.reply.code == 451
    assert site.committer.stored == []
    assert not site.clock.twisted.getDelayedCalls()


def test_a_large_content_waits_at_its_beginning():
    site = Site(resolver=Held(ZONE))
    client = site.stranger()
    client.commands("MAIL FROM:<far@outside.example>", "RCPT TO:<alice@example.test>", "DATA")
    client.machine.receive(LARGE + b".\r\n")
    waits = client.session.content(client.machine.next_event())
    waiting = start(waits)
    assert not waiting.called and site.committer.writers == []
    site.resolver.go()
    assert waiting.called
    assert client.pump().startswith("250")
    assert site.last().was_large and site.last().content == LARGE


def test_a_large_content_given_up_while_it_waits_opens_no_file():
    site = Site(resolver=Held(ZONE))
    client = site.stranger()
    client.commands("MAIL FROM:<far@outside.example>", "RCPT TO:<alice@example.test>", "DATA")
    client.machine.receive(LARGE)
    waiting = start(client.session.content(client.machine.next_event()))
    client.session.lost("gone")
    assert waiting.called
    assert site.committer.writers == []


def test_reset_forgets_the_question():
    site = Site(resolver=Held(ZONE))
    client = site.stranger()
    client.commands("MAIL FROM:<far@outside.example>", "RCPT TO:<alice@example.test>", "RSET")
    assert not site.clock.twisted.getDelayedCalls()


def test_a_resolver_that_breaks_is_temperror(monkeypatch):
    class Broken(ZoneResolver):
        async def text(self, name):
            raise ZeroDivisionError

    questions = spf_questions(ipaddress.ip_address(FORGER), None, "mx.outside.example", "us")
    check = SenderCheck(questions, Broken({}), FakeClock(), 20.0)
    assert check.is_over
    assert run(check.findings()).sender.result.verdict is SpfVerdict.TEMPERROR


def test_after_the_end_nothing_more_is_asked():
    resolver = Held({"outside.example": [("TXT", "v=spf1 " + "a:h.example " * 9)]})
    check = SenderCheck(
        spf_questions(ipaddress.ip_address(FORGER), None, "outside.example", "us"), resolver, FakeClock(), 20.0
    )
    check.forget()
    resolver.go()
    assert [kind for kind, _ in resolver.questions] == ["TXT"]


def test_a_client_without_an_address_is_not_asked_about():
    assert spf_questions(None, None, "mx.outside.example", "us") == ()


def test_cannot_tell_is_not_a_verdict_of_the_domain():
    class Failing(ZoneResolver):
        async def text(self, name):
            return CannotTell("SERVFAIL")

    site = Site(resolver=Failing({}), refuses_fail=True)
    assert site.stranger(address=FORGER).send().startswith("250")
    assert (
        b"spf=temperror (the SPF record of outside.example could not be read now: outside.example: SERVFAIL)"
        in b" ".join(site.last().acceptance.received.split())
    )
