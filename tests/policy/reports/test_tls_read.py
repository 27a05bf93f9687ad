"""SMTP TLS reports (RFC 8460 4.4) as large reporters write them, and as nobody should."""

import gzip

import pytest

from mailserver.mail.fault import SyntaxFault
from mailserver.mail.reports import TlsFailure, TlsPolicyResult, TlsReport
from mailserver.policy.reports.read import read_reports
from mailserver.policy.reports.tls_read import MAX_DETAILS, MAX_OCTETS, MAX_POLICIES, read_tls
from tests.policy.reports.samples import BEGIN, END, TLS_GOOGLE, TLS_MICROSOFT, mail

FAILURE = TlsFailure("certificate-expired", 3, "198.51.100.5", "mail.example.org", "192.0.2.7")


def test_googles_shape():
    report = read_tls(TLS_GOOGLE)
    assert isinstance(report, TlsReport)
    assert (report.reporter, report.begin, report.end) == ("Google Inc.", BEGIN, END)
    [policy] = report.policies
    assert (policy.kind, policy.domain, policy.successes, policy.failures) == ("sts", "example.org", 20, 3)
    assert policy.details == (FAILURE,)
    assert policy.hosts == ("mail.example.org",)


def test_microsofts_shape():
    report = read_tls(TLS_MICROSOFT)
    assert isinstance(report, TlsReport)
    assert report.policies == (TlsPolicyResult("no-policy-found", "example.org", 7, 0, (), (), ("mail.example.org",)),)


def test_a_report_in_a_mail_is_read_like_one_in_a_file():
    assert read_reports(mail(gzip.compress(TLS_GOOGLE), "application/tlsrpt+gzip")) == [read_tls(TLS_GOOGLE)]
    assert read_reports(mail(TLS_MICROSOFT, "application/tlsrpt+json")) == [read_tls(TLS_MICROSOFT)]


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"null",
        b'{"policies":{}}',
        b'{"policies":[]}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"policies":' + b"9" * 10_000 + b"}",
        TLS_GOOGLE.replace(b"2025-06-16T00:00:00Z", b"yesterday"),
        TLS_GOOGLE.replace(b"2025-06-16T00:00:00Z", b"9999-12-31T23:59:59-23:00"),
        TLS_GOOGLE.replace(b'"report-id"', b'"id"'),
        b'{"policies":"' + b"x" * MAX_OCTETS + b'"}',
    ],
)
def test_what_is_no_report_is_a_fault(octets):
    assert isinstance(read_tls(octets), SyntaxFault)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"policy-type":"sts"', b'"policy-type":"other"'),
        (b'"policy-type":"sts"', b'"policy-type":7'),
        (b'"policy-domain":"example.org"', b'"policy-domain":null'),
        (b'"policy-domain":"example.org"', b'"policy-domain":"a b"'),
        (b'{"policy":{', b'{"policy":[{}],"x":{'),
    ],
)
def test_a_policy_that_makes_no_sense_is_left_out(before, after):
    report = read_tls(TLS_GOOGLE.replace(before, after))
    assert isinstance(report, TlsReport)
    assert report.policies == ()


@pytest.mark.parametrize("count", [b"-3", b"3.5", b"true", b"[]", b'"x"', b"1" + b"0" * 30])
def test_a_count_that_is_none_is_zero(count):
    octets = TLS_GOOGLE.replace(b'"failed-session-count":3', b'"failed-session-count":' + count)
    report = read_tls(octets)
    assert isinstance(report, TlsReport)
    assert report.policies[0].details[0].count == 0


def test_there_is_an_end_to_policies_and_details():
    start, rest = TLS_GOOGLE.split(b'"policies":[')
    policy = rest[:-2]
    report = read_tls(start + b'"policies":[' + b",".join([policy] * 2000) + b"]}")
    assert isinstance(report, TlsReport)
    assert len(report.policies) == MAX_POLICIES
    one = b'{"result-type":"x","failed-session-count":1}'
    start, _ = TLS_GOOGLE.split(b'"failure-details":[')
    report = read_tls(start + b'"failure-details":[' + b",".join([one] * 5000) + b"]}]}")
    assert isinstance(report, TlsReport)
    assert len(report.policies[0].details) == MAX_DETAILS
