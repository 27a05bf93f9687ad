"""DMARC on port 25: what is asked and when, what it may cost, and what follows."""

from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred

from mailserver.mail.dmarc import DmarcUse
from mailserver.policy.dkim.result import DkimResult, DkimVerdict, SignatureResults
from mailserver.policy.dmarc.evaluation import Identifiers
from mailserver.policy.spf.evaluation import SpfQuestion
from mailserver.policy.spf.result import SpfIdentity, SpfResult, SpfVerdict
from mailserver.session.authentication import Authentication, SpfSettings
from mailserver.session.dmarc_check import DmarcCheck, DmarcSettings, identifiers_of
from mailserver.session.sender_check import NOT_ASKED, SpfFinding, SpfFindings
from mailserver.session.smtp_profile import SMTP
from tests.fakes.awaiting import run, start
from tests.fakes.blocking import DirectBlocking
from tests.fakes.clock import FakeClock
from tests.fakes.smtp import World
from tests.policy.dkim.keys import NOW, answers, signed
from tests.policy.spf.zone import ZoneResolver

ZONE = {
    "outside.example": [("TXT", "v=spf1 ip4:192.0.2.0/24 -all")],
    "_dmarc.outside.example": [("TXT", "v=DMARC1; p=reject")],
    "_dmarc.bank.example": [("TXT", "v=DMARC1; p=reject")],
    "_dmarc.shop.example": [("TXT", "v=DMARC1; p=quarantine")],
    "_dmarc.calm.example": [("TXT", "v=DMARC1; p=none")],
    "_dmarc.test.example": [("TXT", "v=DMARC1; p=reject; t=y")],
    "_dmarc.broken.example": ["TIMEOUT"],
    "_dmarc.example.org": [("TXT", "v=DMARC1; p=reject; adkim=s")],
    **{name: [("TXT", text) for text in texts] for name, texts in answers().items()},
}
ENFORCE = {"use": DmarcUse.ENFORCE}
REFUSED = (
    "550-5.7.1 This message fails DMARC, and the policy of bank.example (its From) is to refuse it\r\n"
    "550-5.7.1 Send it through a server of that domain, or ask its administrator to sign with DKIM or to add you to "
    "SPF\r\n"
    "550 5.7.1 Forwarders and mailing lists: keep the signature whole, or put your own address into From\r\n"
)
FILLING = b"0123456789abcdef\r\n" * 20_000


class Site(World):
    """A port 25 that asks SPF, DKIM and DMARC."""

    def __init__(self, *, resolver=None, checks_dkim=True, spf=True, **settings):
        super().__init__()
        self.resolver = resolver or ZoneResolver(ZONE)
        self.doors = replace(
            self.doors,
            authentication=Authentication(
                "mail.example.test",
                self.resolver,
                DirectBlocking(),
                self.clock,
                checks_dkim=checks_dkim,
                spf=SpfSettings() if spf else None,
                dmarc=DmarcSettings(**settings),
            ),
        )

    def send(self, content, **more):
        client = self.connect(SMTP)
        client.say("EHLO mx.outside.example\r\n")
        return client.send(content, **more)

    def told(self):
        """The dmarc part of the last message's field."""
        received = b" ".join(self.committer.stored[-1].acceptance.received.partition(b"Received:")[0].split())
        return (b"dmarc=" + received.partition(b" dmarc=")[2].partition(b"; ")[0]).decode()

    def asked_dmarc(self):
        return [name for _, name in self.resolver.questions if name.startswith("_dmarc.")]


def letter(author, *, large=False):
    return b"From: " + author.encode() + b"\r\nSubject: x\r\n\r\n" + (FILLING if large else b"hello\r\n")


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    ("author", "told"),
    [
        ("x@outside.example", "pass (outside.example answers for it) header.from=outside.example policy.dmarc=reject"),
        (
            "x@bank.example",
            "fail (bank.example asks for reject, done: none) header.from=bank.example policy.dmarc=reject",
        ),
        ("x@gone.example", "none (gone.example publishes no DMARC record) header.from=gone.example"),
        ("x@broken.example", "temperror (_dmarc.broken.example: no answer) header.from=broken.example"),
        ("nobody", "permerror (the From field cannot be read)"),
    ],
)
def test_the_verdict_stands_in_the_message_and_in_the_log(author, told, large):
    site = Site()
    assert site.send(letter(author, large=large)).startswith("250")
    assert site.told() == f"dmarc={told}"
    (line,) = site.lines("authenticated")
    assert f' dmarc="{told.split()[0]} ' in line


def test_a_signature_answers_for_the_domain_in_from():
    site = Site(**ENFORCE)
    content = signed(b"From: a@example.org\r\nSubject: x\r\n\r\nhello\r\n", NOW)
    assert site.send(content).startswith("250")
    assert site.told().startswith("dmarc=pass (example.org answers for it)")
    assert site.send(content + b"changed\r\n").startswith("550-5.7.1 This message fails DMARC")


@pytest.mark.parametrize("large", [False, True])
def test_what_the_owner_asks_for_is_done_when_enforced(large):
    site = Site(**ENFORCE)
    assert site.send(letter("Bank <x@bank.example>", large=large)) == REFUSED
    assert site.committer.stored == []
    assert all(writer.is_discarded for writer in site.committer.writers)
    (line,) = site.lines("refused")
    assert "fails DMARC" in line and "bank.example" in line
    assert site.lines("authenticated") == []


@pytest.mark.parametrize(
    ("author", "done"),
    [
        ("x@shop.example", "fail shop.example quarantine, done: quarantine"),
        ("x@calm.example", "fail calm.example none"),
        ("x@test.example", "fail test.example quarantine, done: quarantine"),
        ("x@gone.example", "none gone.example"),
        ("x@broken.example", "temperror broken.example (_dmarc.broken.example: no answer)"),
        ("Mailer-Daemon", "permerror (the From field cannot be read)"),
        ("x@outside.example", "pass outside.example reject"),
    ],
)
def test_what_is_taken_when_enforced(author, done):
    site = Site(**ENFORCE)
    assert site.send(letter(author)).startswith("250")
    assert f'dmarc="{done}"' in site.lines("authenticated")[0]


def test_quarantine_may_be_a_refusal():
    site = Site(**ENFORCE, refuses_quarantine=True)
    assert site.send(letter("x@shop.example")).startswith("550-5.7.1 This message fails DMARC")
    assert site.send(letter("x@calm.example")).startswith("250")


@pytest.mark.parametrize(
    "author",
    ["x@bank.example nonsense", "<x@bank.example", ", ".join(f"x@{name}.example" for name in "abcde")],
)
def test_a_from_that_hides_its_domain_is_refused_when_enforced(author):
    site = Site(**ENFORCE)
    reply = site.send(letter(author))
    assert reply.startswith("550"), reply
    assert Site().send(letter(author)).startswith("250")


def test_a_from_behind_a_line_that_is_no_field_counts_when_there_is_no_other():
    site = Site(**ENFORCE)
    forged = b"no field\r\nFrom: x@bank.example\r\n\r\nhello\r\n"
    assert site.send(b"Subject: x\r\n" + forged) == REFUSED
    assert site.send(b"Subject: x\r\n" + forged.replace(b"\r\n\r\n", b"\r\n")) == REFUSED
    assert site.send(b"From: x@outside.example\r\n" + forged).startswith("250")
    assert site.told().startswith("dmarc=pass")


def test_each_of_several_authors_counts():
    site = Site(**ENFORCE)
    assert site.send(letter("x@outside.example, y@bank.example")) == REFUSED
    assert site.send(letter("x@outside.example\r\nFrom: y@bank.example")) == REFUSED


OVERRIDES = [
    # for all, for bank.example, for the author; whether the message is refused, what is told
    (DmarcUse.ENFORCE, DmarcUse.CHECK, "bank.example", False, "fail"),
    (DmarcUse.ENFORCE, DmarcUse.CHECK, "a.bank.example", False, "fail"),
    (DmarcUse.ENFORCE, DmarcUse.OFF, "bank.example", False, ""),
    (DmarcUse.ENFORCE, DmarcUse.OFF, "shop.example", False, "fail"),
    (DmarcUse.CHECK, DmarcUse.ENFORCE, "bank.example", True, ""),
    (DmarcUse.CHECK, DmarcUse.ENFORCE, "shop.example", False, "fail"),
    (DmarcUse.OFF, DmarcUse.ENFORCE, "bank.example", True, ""),
    (DmarcUse.OFF, DmarcUse.ENFORCE, "shop.example", False, ""),
    (DmarcUse.OFF, DmarcUse.CHECK, "bank.example", False, "fail"),
]


@pytest.mark.parametrize(("use", "own", "author", "is_refused", "told"), OVERRIDES)
def test_a_domain_may_have_its_own_choice(use, own, author, is_refused, told):
    site = Site(use=use, overrides={"bank.example": own})
    reply = site.send(letter(f"x@{author}"))
    assert reply.startswith("550" if is_refused else "250")
    if not is_refused:
        assert site.told().startswith(f"dmarc={told}")
        assert bool(site.asked_dmarc()) is bool(told)


@pytest.mark.parametrize(
    "more", [{"spf": False}, {"checks_dkim": False}, {"use": DmarcUse.OFF}, {"overrides": {}, "use": DmarcUse.OFF}]
)
def test_without_spf_and_dkim_it_is_not_asked(more):
    site = Site(**{**ENFORCE, **more})
    assert site.send(letter("x@bank.example")).startswith("250")
    assert site.asked_dmarc() == []
    assert b"dmarc" not in site.committer.stored[-1].acceptance.received


# --- time, and what it is made of -------------------------------------------------------------------------------------


def check(section, resolver, clock, **settings):
    return start(DmarcCheck(section, DmarcSettings(**settings), resolver, clock).finding(SignatureResults(), NOT_ASKED))


class Silent(ZoneResolver):
    async def text(self, name):
        self.questions.append(("TXT", name))
        return await self.never

    never = None


def test_dns_that_is_silent_costs_no_more_than_the_limit():
    clock, resolver = FakeClock(), Silent({})
    resolver.never = Deferred()
    waiting = check(b"From: x@a.bank.example\r\n", resolver, clock, use=DmarcUse.ENFORCE, limit_s=3.0)
    clock.advance(2.9)
    assert not waiting.called
    clock.advance(0.2)
    assert str(waiting.result) == "temperror a.bank.example (DNS took too long)"
    resolver.never.callback(())
    assert str(waiting.result) == "temperror a.bank.example (DNS took too long)"
    assert len(resolver.questions) == 1  # what comes late leads to no further question
    assert not clock.twisted.getDelayedCalls()


def test_a_resolver_that_breaks_refuses_nobody():
    class Broken:
        async def text(self, name):
            raise ZeroDivisionError

    clock = FakeClock()
    found = check(b"From: x@bank.example\r\n", Broken(), clock, use=DmarcUse.ENFORCE).result
    assert str(found).startswith("temperror bank.example") and found.refusal is None
    assert not clock.twisted.getDelayedCalls()


def spf(verdict, domain="a.example"):
    question = SpfQuestion(None, domain)
    return SpfFindings(SpfFinding(question, SpfResult(verdict, SpfIdentity.MAIL_FROM, domain)))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (NOT_ASKED, Identifiers()),
        (spf(SpfVerdict.PASS), Identifiers(spf=frozenset(("a.example",)))),
        (spf(SpfVerdict.PASS, ""), Identifiers()),
        (spf(SpfVerdict.TEMPERROR), Identifiers(undecided_spf=frozenset(("a.example",)))),
        *((spf(one), Identifiers()) for one in SpfVerdict if one not in (SpfVerdict.PASS, SpfVerdict.TEMPERROR)),
    ],
)
def test_who_answers_by_spf(found, expected):
    assert identifiers_of(SignatureResults(), found) == expected


def test_who_answers_by_dkim():
    results = tuple(DkimResult(one, domain=f"{one.value}.example") for one in DkimVerdict)
    found = identifiers_of(SignatureResults(results), NOT_ASKED)
    assert found == Identifiers(dkim=frozenset(("pass.example",)), undecided_dkim=frozenset(("temperror.example",)))
    assert (
        run(DmarcCheck(b"From: x@bank.example\r\n", DmarcSettings(DmarcUse.OFF), None, None).finding(None, None))
        is None
    )
