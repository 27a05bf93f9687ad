"""Who answers for a report: only what this server found out counts."""

import pytest

from mailserver.mail.authentication_results import MethodResult, authentication_results
from mailserver.mail.reports import DmarcReport, PublishedPolicy
from mailserver.policy.reports.proof import proven_by, shown, vouching

HOST = "mail.example.org"
RECEIVED = b"Received: from out.example by mail.example.org; Tue, 17 Jun 2025 03:00:00 +0000\r\n"


def results(*found: MethodResult, host: str = HOST) -> bytes:
    return authentication_results(host, found)


DMARC = MethodResult(
    "dmarc", "pass", (("header.from", "google.com"), ("policy.dmarc", "reject")), comment="it (really) does"
)
DKIM = MethodResult("dkim", "pass", (("header.d", "g.example"), ("header.s", "s1")))
SPF = MethodResult("spf", "pass", (("smtp.mailfrom", "x@s.example"),))

# What a stranger chose stands in comments and quotes.
STRANGERS_WORDS = MethodResult(
    "dkim",
    "fail",
    (("header.d", "evil.example"),),
    reason="x; dkim=pass header.d=google.com",
    comment="; dmarc=pass header.from=google.com",
)


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (results(DMARC) + RECEIVED, ("google.com",)),
        (results(SPF, DMARC, DKIM) + RECEIVED, ("google.com", "g.example", "s.example")),
        (b"Return-Path: <>\r\nDelivered-To: a@example.org\r\n" + results(DKIM) + RECEIVED, ("g.example",)),
        (results(SPF) + RECEIVED, ("s.example",)),
        (results(MethodResult("spf", "pass", (("smtp.mailfrom", "s.example"),))) + RECEIVED, ("s.example",)),
        (results(MethodResult("dmarc", "fail", (("header.from", "google.com"),))) + RECEIVED, ()),
        (results() + RECEIVED, ()),
        (RECEIVED + results(DMARC), ()),
        (results(DMARC, host="mx.evil.example") + RECEIVED, ()),
        (b"", ()),
        (results(STRANGERS_WORDS) + RECEIVED, ()),
    ],
)  # fmt: skip
def test_the_domains_that_vouch(section, expected):
    assert vouching(section, HOST) == expected


@pytest.mark.parametrize(
    ("reporter", "contact", "vouchers", "expected"),
    [
        ("google.com", "noreply@google.com", ("google.com",), "google.com"),
        ("Enterprise Outlook", "dmarcreport@microsoft.com", ("microsoft.com",), "microsoft.com"),
        ("Yahoo", "x@yahooinc.com", ("dmarc.yahooinc.com",), "dmarc.yahooinc.com"),
        ("mx.example.net", "x", ("example.net",), "example.net"),
        ("google.com", "noreply@google.com", ("evil.example",), ""),
        ("google.com", "noreply@google.com", ("notgoogle.com",), ""),
        ("google.com", "noreply@google.com", ("com",), ""),
        ("com", "x@com", ("evil.com",), ""),
        ("google.com", "noreply@google.com", (), ""),
        ("google.com", "noreply@evil.example", ("evil.example",), ""),
        ("Google Inc.", "noreply@evil.example", ("evil.example",), "evil.example"),
        ("evil.example", "x@google.com", ("other.example", "evil.example"), "evil.example"),
    ],
)
def test_a_report_is_proven_by_who_it_says_it_is_from(reporter, contact, vouchers, expected):
    report = DmarcReport(reporter, contact, "1", 1, 2, PublishedPolicy("example.org"), ())
    assert proven_by(report, vouchers) == expected


def test_a_name_that_does_not_tell_is_shown_with_who_vouches():
    assert shown("google.com", "google.com") == shown("google.com", "") == shown("google.com", "import") == "google.com"
    assert shown("Enterprise Outlook", "microsoft.com") == "Enterprise Outlook (microsoft.com)"
