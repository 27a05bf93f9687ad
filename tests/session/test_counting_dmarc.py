"""What is told of each stranger's message, for reports to the domain in From."""

from dataclasses import replace

import pytest

from mailserver.policy.dmarc.result import DmarcVerdict
from mailserver.session.authentication import Authentication, SpfSettings
from mailserver.session.dmarc_check import DmarcSettings
from mailserver.session.smtp_profile import SMTP
from tests.fakes.blocking import DirectBlocking
from tests.fakes.smtp import World
from tests.policy.dkim.keys import NOW, answers, signed
from tests.policy.spf.zone import ZoneResolver

RUA = "rua=mailto:rua@outside.example"
ZONE = {
    "example.org": [("TXT", "v=spf1 ip4:192.0.2.0/24 -all")],
    "mail.example.org": [("TXT", "v=spf1 ip4:192.0.2.0/24 -all")],
    "other.example": [("TXT", "v=spf1 ip4:192.0.2.0/24 -all")],
    "_dmarc.example.org": [("TXT", f"v=DMARC1; p=reject; {RUA}")],
    "_dmarc.strict.example": [("TXT", f"v=DMARC1; p=none; adkim=s; aspf=s; {RUA}")],
    **{name: [("TXT", text) for text in texts] for name, texts in answers().items()},
}


class Site(World):
    def __init__(self, *, is_counting=True):
        super().__init__()
        self.counted = []
        self.resolver = ZoneResolver(ZONE)
        self.doors = replace(
            self.doors,
            authentication=Authentication(
                "mail.example.test",
                self.resolver,
                DirectBlocking(),
                self.clock,
                spf=SpfSettings(),
                dmarc=DmarcSettings(is_counted=is_counting),
                count_dmarc=(lambda *told: self.counted.append(told)) if is_counting else None,
            ),
        )

    def send(self, content, **more):
        client = self.connect(SMTP)
        client.say("EHLO mx.other.example\r\n")
        assert client.send(content, **more).startswith("250")
        return self.counted


def letter(author="x@example.org", subject="x"):
    return f"From: {author}\r\nSubject: {subject}\r\n\r\nhello\r\n".encode()


def aligned(told):
    finding = told[2].result
    return finding.verdict, finding.has_aligned_spf, finding.has_aligned_dkim


@pytest.mark.parametrize(
    ("content", "sender", "expected"),
    [
        (letter(), "x@example.org", (DmarcVerdict.PASS, True, False)),
        (letter(), "x@mail.example.org", (DmarcVerdict.PASS, True, False)),
        (letter(), "x@other.example", (DmarcVerdict.FAIL, False, False)),
        (signed(letter(), NOW), "x@other.example", (DmarcVerdict.PASS, False, True)),
        (signed(letter(), NOW), "x@example.org", (DmarcVerdict.PASS, True, True)),
        (signed(letter(), NOW), "x@mail.example.org", (DmarcVerdict.PASS, True, True)),
        (letter("x@a.strict.example"), "x@other.example", (DmarcVerdict.FAIL, False, False)),
    ],
)
def test_spf_and_dkim_are_told_apart(content, sender, expected):
    [told] = Site().send(content, sender=sender)
    assert aligned(told) == expected
    signatures, spf, finding = told
    assert str(spf.sender.question.client).startswith("192.0.2.")
    assert finding.result.record.reports_to == ("mailto:rua@outside.example",)
    assert len(signatures.dkim) == content.count(b"DKIM-Signature:")


@pytest.mark.parametrize(
    "subject",
    [
        "Report Domain: example.org Submitter: mx.example Report-ID: <1>",
        "Report domain: example.org",
        "\r\n Report Domain: example.org",
    ],
)
def test_a_report_is_not_counted(subject):
    """Or two servers would report to each other about reports, for ever."""
    assert Site().send(letter(subject=subject)) == []


def test_what_nobody_counts_costs_no_further_question():
    with_counting, without = Site(), Site(is_counting=False)
    for site in (with_counting, without):
        site.send(signed(letter(), NOW), sender="x@example.org")
    assert without.counted == []
    assert set(without.resolver.questions) <= set(with_counting.resolver.questions)
