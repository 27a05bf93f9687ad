"""DMARC aggregate reports as large reporters write them, and as attackers do."""

import time
import tracemalloc

import pytest

from mailserver.mail.fault import SyntaxFault
from mailserver.mail.reports import DmarcReport, DmarcRow, PublishedPolicy, SignatureSeen
from mailserver.policy.reports.dmarc_read import MAX_ROWS, read_dmarc
from tests.policy.reports.samples import BEGIN, END, GOOGLE, MICROSOFT, NEW, OLD


def test_googles_shape():
    report = read_dmarc(GOOGLE)
    assert report == DmarcReport(
        "google.com",
        "noreply-dmarc-support@google.com",
        "10293847561029384756",
        BEGIN,
        END,
        PublishedPolicy("example.org", "none", "none", "none"),
        (
            DmarcRow(
                "192.0.2.7", 14, "none", True, True, "example.org", "",
                (SignatureSeen("example.org", "r202611", "pass"), SignatureSeen("example.org", "e202611", "pass")),
                "example.org", "pass",
            ),
            DmarcRow(
                "2001:db8::19", 2, "none", False, False, "example.org", "", (), "lists.example.net", "pass",
                ("local_policy: arc=pass",),
            ),
        ),
    )  # fmt: skip


def test_microsofts_shape():
    report = read_dmarc(MICROSOFT)
    assert isinstance(report, DmarcReport)
    assert (report.reporter, report.policy.policy, report.policy.failure_options) == (
        "Enterprise Outlook",
        "reject",
        "1",
    )
    assert report.rows == (
        DmarcRow(
            "203.0.113.9", 12, "reject", False, False, "example.org", "spam.example",
            (SignatureSeen("spam.example", "x", "fail"),), "spam.example", "pass",
        ),
    )  # fmt: skip


def test_the_shape_before_the_standard():
    report = read_dmarc(OLD)
    assert isinstance(report, DmarcReport)
    assert (report.reporter, report.policy.domain) == ("Yahoo", "example.org")
    assert report.rows[0].signatures == (SignatureSeen("example.org", "", "pass"),)
    assert report.rows[0].is_pass


def test_the_shape_of_rfc_9990():
    report = read_dmarc(NEW)
    assert isinstance(report, DmarcReport)
    assert report.policy == PublishedPolicy("example.org", "quarantine", "none", "reject", "s", "s", True, "1:d")
    assert [(row.count, row.disposition, row.envelope_from) for row in report.rows] == [(3, "none", "")]


def test_octets_that_are_not_the_encoding_they_say_are_read_as_latin_1():
    octets = GOOGLE.replace(b"<org_name>google.com", b"<org_name>Caf\xe9 GmbH")
    report = read_dmarc(octets)
    assert isinstance(report, DmarcReport)
    assert report.reporter == "Café GmbH"
    assert read_dmarc(GOOGLE.decode().replace("UTF-8", "UTF-16").encode("utf-16")) == read_dmarc(GOOGLE)


BILLION_LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE feedback [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b"]><feedback>&j;</feedback>"
)


@pytest.mark.parametrize(
    ("octets", "word"),
    [
        (BILLION_LAUGHS, "document type"),
        (b'<!DOCTYPE f SYSTEM "file:///etc/passwd"><feedback/>', "document type"),
        (b'<!DOCTYPE f [<!ENTITY x SYSTEM "file:///etc/passwd">]><feedback>&x;</feedback>', "document type"),
        (b"<feedback>&x;</feedback>", "not XML"),
        (b"<feedback>" * 13 + b"</feedback>" * 13, "nested"),
        (b"<feedback>" * 500_000, "nested"),
        (b"<feedback><a>" + b"x" * 5000 + b"</a></feedback>", "too long"),
        (b"<html></html>", "not a DMARC report"),
        (b"<feedback>", "not XML"),
        (b"<feedback></feedback><feedback/>", "not XML"),
        (b"", "not XML"),
        (b"\0" * 100, "not XML"),
        (b'<?xml version="1.0" encoding="klingon"?><feedback/>', ""),
        (b"<feedback/>", "which domain"),
        (GOOGLE.replace(b"<domain>example.org</domain>\n    <adkim>", b"<domain>a b</domain><adkim>"), "which domain"),
        (GOOGLE.replace(b"<begin>1750032000", b"<begin>-1"), "which time"),
        (GOOGLE.replace(b"<begin>1750032000", b"<begin>1"), "which time"),
        (GOOGLE.replace(b"<end>1750118399", b"<end>" + b"9" * 5000), "too long"),
        (GOOGLE.replace(b"<report_id>10293847561029384756", b"<report_id>"), "who made it"),
    ],
)  # fmt: skip
def test_what_is_no_report_says_why(octets, word):
    begun = time.process_time()
    fault = read_dmarc(octets)
    assert isinstance(fault, SyntaxFault)
    assert word in fault.reason
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"<count>14<", b"<count>-14<"),
        (b"<count>14<", b"<count>1e9<"),
        (b"<count>14<", b"<count>0<"),
        (b"<count>14<", b"<count>99999999999999999999<"),
        (b"<count>14<", "<count>١٤<".encode()),
        (b"<source_ip>192.0.2.7<", b"<source_ip>here<"),
        (b"<source_ip>192.0.2.7<", b"<source_ip>192.0.2.7/24<"),
    ],
)
def test_a_row_that_makes_no_sense_is_skipped_and_counted(before, after):
    report = read_dmarc(GOOGLE.replace(before, after))
    assert isinstance(report, DmarcReport)
    assert (len(report.rows), report.skipped) == (1, 1)


def test_too_many_rows_are_no_report():
    start, _ = GOOGLE.split(b"  <record>", 1)
    record = b"<record><row><source_ip>192.0.2.7</source_ip><count>1</count></row></record>"
    fault = read_dmarc(start + record * (MAX_ROWS + 1) + b"</feedback>")
    assert isinstance(fault, SyntaxFault)
    assert "rows" in fault.reason
    whole = read_dmarc(start + record * 1000 + b"</feedback>")
    assert isinstance(whole, DmarcReport)
    assert len(whole.rows) == 1000


def test_texts_are_printable_and_short():
    octets = GOOGLE.replace(b"<org_name>google.com", "<org_name>a\u202eb\n\tc".encode() + b"x" * 3000)
    report = read_dmarc(octets)
    assert isinstance(report, DmarcReport)
    assert report.reporter.startswith("a?b cx")
    assert len(report.reporter) == 250


def test_elements_that_nobody_knows_are_not_kept():
    found = read_dmarc(GOOGLE.replace(b"<record>", b"<a><b><c>1</c></b></a><record><a><b/></a>", 1))
    assert found == read_dmarc(GOOGLE)


@pytest.mark.parametrize(
    ("octets", "word"),
    [
        # A path of long names costs its length again for each element below: 400 kilobytes took two gigabytes.
        (b"<%b>%b" % (b"x" * 10_000, b"<a/>" * 5000), "longer name"),
        # Each name is kept to the end, by the parser, too: 20 megabytes took half a gigabyte.
        (b"".join(b"<a%d/>" % number for number in range(300_000)), "kinds of elements"),
        (b"<a %b" % b" ".join(b'a%d=""' % number for number in range(300_000)), "has no end"),
        (b"".join(b'<a b%d=""/>' % number for number in range(300_000)), "kinds of elements"),
    ],
)
def test_made_up_elements_do_not_fill_the_memory(octets, word):
    whole = b"<feedback>" + octets
    tracemalloc.start()
    try:
        found = read_dmarc(whole)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(found, SyntaxFault)
    assert word in found.reason
    assert peak < 4_000_000
