"""Our own reports: as the standards want them, and read back by our own reader."""

import email
import email.policy
import gzip
import re
from xml.etree import ElementTree

import pytest

from mailserver.mail.address import Mailbox
from mailserver.mail.reports import (
    DmarcReport,
    DmarcRow,
    PublishedPolicy,
    SignatureSeen,
    TlsFailure,
    TlsPolicyResult,
    TlsReport,
)
from mailserver.policy.reports.dmarc_write import NAMESPACE, write_dmarc
from mailserver.policy.reports.letters import Letterhead, letter
from mailserver.policy.reports.read import read_reports
from tests.policy.reports.samples import BEGIN, END

HEAD = Letterhead("mail.example.net", Mailbox("postmaster", "example.net"))
TO = Mailbox("rua", "example.org")
ROWS = (
    DmarcRow(
        "192.0.2.7", 14, "none", True, False, "example.org", "bounce.example.org",
        (SignatureSeen("example.org", "s1", "pass"), SignatureSeen("other.example", "x", "fail")),
        "bounce.example.org", "softfail",
    ),
    DmarcRow("2001:db8::19", 2, "none", False, False, "a.example.org", reasons=("local_policy", "other: <&>")),
    DmarcRow("203.0.113.9", 1, "reject", False, False, "example.org", "", (), "spam.example", "pass"),
)  # fmt: skip
REPORT = DmarcReport(
    "example.net", "postmaster@example.net", f"dmarc.{BEGIN}.example.org@mail.example.net", BEGIN, END,
    PublishedPolicy("example.org", "reject", "quarantine", "none", "s", "r", True, "1"), ROWS,
)  # fmt: skip
TLS = TlsReport(
    "example.net", "postmaster@example.net", f"tls.{BEGIN}.example.org@mail.example.net", BEGIN, END,
    (
        TlsPolicyResult("tlsa", "example.org", 5, 0, (), ("3 1 1 ab",), ("mx.example.org",)),
        TlsPolicyResult(
            "sts", "example.org", 0, 2, (TlsFailure("certificate-expired", 2, "", "mx.example.org", "192.0.2.7"),),
            ("version: STSv1", "mode: enforce"), ("*.example.org",),
        ),
    ),
)  # fmt: skip
# RFC 9990 3.1.1: what stands in what, in order; `?` may be left out, `*` may come several times.
SCHEMA = {
    "feedback": "version? report_metadata policy_published extension? record*",
    "report_metadata": "org_name email extra_contact_info? report_id date_range error? generator?",
    "date_range": "begin end",
    "policy_published": "domain discovery_method? p sp? np? fo? adkim? aspf? testing?",
    "record": "row identifiers auth_results",
    "row": "source_ip count policy_evaluated",
    "policy_evaluated": "disposition dkim spf reason*",
    "reason": "type comment?",
    "identifiers": "header_from envelope_from? envelope_to?",
    "auth_results": "dkim* spf?",
    "auth_results/dkim": "domain selector result human_result?",
    "auth_results/spf": "domain scope? result human_result?",
}


def check(element: ElementTree.Element, within: str = "") -> None:
    name = element.tag.removeprefix(f"{{{NAMESPACE}}}")
    assert name != element.tag, "every element is in the namespace"
    rule = SCHEMA.get(f"{within}/{name}") or (
        None if within == "policy_evaluated" and name != "reason" else SCHEMA.get(name)
    )
    if rule is None:
        assert len(element) == 0, f"{name} is a text"
        return
    pattern = "".join(f"(?:{part.rstrip('?*')} ){part[-1] if part[-1] in '?*' else ''}" for part in rule.split())
    inner = "".join(f"{one.tag.removeprefix(f'{{{NAMESPACE}}}')} " for one in element)
    assert re.fullmatch(pattern, inner), f"{name}: {inner}"
    for one in element:
        check(one, name)


def test_the_document_follows_the_schema():
    root = ElementTree.fromstring(write_dmarc(REPORT))
    check(root)
    namespace = {"d": NAMESPACE}
    assert [one.text for one in root.iterfind("d:record/d:auth_results/d:spf/d:scope", namespace)] == ["mfrom"] * 2
    assert root.findtext("d:policy_published/d:discovery_method", "", namespace) == "treewalk"
    assert root.findtext("d:version", "", namespace) == "1.0"
    kinds = {one.text for one in root.iterfind("d:record/d:row/d:policy_evaluated/d:reason/d:type", namespace)}
    assert kinds <= {"local_policy", "mailing_list", "other", "policy_test_mode", "trusted_forwarder"}


@pytest.mark.parametrize("report", [REPORT, TLS], ids=["dmarc", "tls"])
def test_what_we_write_is_what_we_read(report):
    content = letter(HEAD, report, "example.org", (TO,), END + 3600.0)
    assert read_reports(content) == [report]
    assert read_reports(content.replace(b"\r\n", b"\n")) == [report]


def test_texts_that_xml_cannot_hold_are_left_out():
    odd = DmarcRow(
        "192.0.2.7",
        1,
        "none",
        False,
        False,
        "example.org",
        signatures=(SignatureSeen("a", "]]>\0\x1f\ud800\ufffe<", "x"),),
    )
    report = DmarcReport("a & b", "c", "<id>", BEGIN, END, PublishedPolicy("example.org"), (odd,))
    [back] = read_reports(write_dmarc(report))
    assert isinstance(back, DmarcReport)
    assert (back.reporter, back.report_id, back.rows[0].signatures[0].selector) == ("a & b", "<id>", "]]><")


def parsed(content: bytes) -> email.message.EmailMessage:
    return email.message_from_bytes(content, policy=email.policy.SMTP)


def test_a_mail_with_a_dmarc_report():
    """RFC 9990 3.5.2."""
    content = letter(HEAD, REPORT, "example.org", (TO,), END + 3600.0)
    message = parsed(content)
    subject = b"Subject: Report Domain: example.org Submitter: mail.example.net Report-ID: <dmarc."
    assert b"\r\n" + subject in content
    [part] = message.iter_attachments()
    assert part.get_content_type() == "application/gzip"
    assert part.get_filename() == f"mail.example.net!example.org!{BEGIN}!{END}.xml.gz"
    assert gzip.decompress(part.get_content()).startswith(b"<?xml")
    assert message["From"].addresses[0].addr_spec == "postmaster@example.net"
    assert message["To"] == "rua@example.org"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"] == f"<{REPORT.report_id}>"
    assert message["TLS-Required"] is None
    assert content.count(b"\n") == content.count(b"\r\n")
    assert max(map(len, content.split(b"\r\n"))) <= 998


def test_a_mail_with_a_report_about_tls():
    """RFC 8460 5.3, and RFC 8689 3 for what must arrive without TLS."""
    content = letter(HEAD, TLS, "example.org", (TO,), END + 3600.0)
    message = parsed(content)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "tlsrpt"
    assert message["TLS-Report-Domain"] == "example.org"
    assert message["TLS-Report-Submitter"] == "mail.example.net"
    assert message["TLS-Required"] == "No"
    first, second = message.iter_parts()
    assert first.get_content_type() == "text/plain"
    assert second.get_content_type() == "application/tlsrpt+gzip"
    assert second.get_filename() == f"mail.example.net!example.org!{BEGIN}!{END}!001.json.gz"


def test_the_same_report_made_again_is_the_same_attachment():
    """RFC 9990 3.5.2: a report that is sent again has the same name, and the same id lets it count once."""
    one, two = (parsed(letter(HEAD, REPORT, "example.org", (TO,), now)) for now in (END + 1.0, END + 86400.0))
    assert one["Message-ID"] == two["Message-ID"]
    parts = [next(iter(message.iter_attachments())) for message in (one, two)]
    assert parts[0].get_content() == parts[1].get_content()
    assert parts[0].get_filename() == parts[1].get_filename()
