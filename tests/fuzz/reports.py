"""Targets: what strangers write into reports and into their DNS and policy hosts, and headers with verdicts."""

import gzip
import zlib
from collections.abc import Iterator

from mailserver.mail.authentication_results import MethodResult, authentication_results, authserv_id_of, without_forged
from mailserver.mail.dns import TlsaRecord
from mailserver.mail.fault import SyntaxFault
from mailserver.mail.headers import header_end
from mailserver.mail.mta_sts import StsMode
from mailserver.mail.reports import DmarcReport, Report
from mailserver.policy.dmarc.record import MAX_RECORD_CHARS, is_dmarc, only_record, parse_record
from mailserver.policy.mta_sts import covers, parse_policy, policy_id
from mailserver.policy.reports.container import MAX_REPORTS, reports_in
from mailserver.policy.reports.dmarc_read import read_dmarc
from mailserver.policy.reports.dmarc_write import write_dmarc
from mailserver.policy.reports.proof import proven_by, vouching
from mailserver.policy.reports.read import read_reports
from mailserver.policy.reports.tls_read import read_tls
from mailserver.policy.reports.tls_write import write_tls
from mailserver.policy.spf.record import is_spf
from mailserver.policy.spf.record import parse_record as parse_spf
from mailserver.policy.transport import is_usable
from tests.policy.reports import samples

_HOST = "mail.example.org"


def report_xml(octets: bytes) -> None:
    """A DMARC report: a value whose texts can be shown, or a fault; what is read is read again from what we write."""
    report = read_dmarc(octets)
    if isinstance(report, SyntaxFault):
        assert report.reason
        return
    _check(report)
    again = read_dmarc(write_dmarc(report))
    assert isinstance(again, DmarcReport)
    assert [(row.source, row.count, row.is_pass) for row in again.rows] == [
        (row.source, row.count, row.is_pass) for row in report.rows
    ]


def report_json(octets: bytes) -> None:
    """The same for a report about TLS."""
    report = read_tls(octets)
    if isinstance(report, SyntaxFault):
        assert report.reason
        return
    _check(report)
    again = read_tls(write_tls(report))
    assert not isinstance(again, SyntaxFault)
    assert [(one.domain, one.successes, one.failures) for one in again.policies] == [
        (one.domain, one.successes, one.failures) for one in report.policies
    ]


def report_mail(octets: bytes) -> None:
    """A message or a file: at most so many reports, each unpacked or with the reason why not."""
    found = reports_in(octets)
    assert len(found) <= MAX_REPORTS
    for one in read_reports(octets):
        if not isinstance(one, SyntaxFault):
            _check(one)


def _check(report: Report) -> None:
    assert (report.reporter + report.contact + report.report_id).isprintable()
    assert report.begin <= report.end
    proven_by(report, ("example.org",))
    if isinstance(report, DmarcReport):
        assert all(row.count > 0 and row.disposition in ("none", "quarantine", "reject") for row in report.rows)
    else:
        assert all(one.successes >= 0 and one.failures >= 0 for one in report.policies)


def spf_record(octets: bytes) -> None:
    """A TXT record: directives that the evaluation knows, or a fault in words."""
    text = octets.decode("latin-1")
    for written in (text, f"v=spf1 {text}"):
        record = parse_spf(written) if is_spf(written) else None
        if isinstance(record, SyntaxFault):
            assert record.reason
        elif record is not None:
            assert all(0 <= one.length4 <= 32 and 0 <= one.length6 <= 128 for one in record.directives)


def dmarc_record(octets: bytes) -> None:
    """TXT records, one on a line: at most one counts, and its addresses are addresses."""
    texts = octets.decode("latin-1").split("\n")
    only_record(texts)
    for text in (texts[0], f"v=DMARC1; {texts[0]}"):
        if is_dmarc(text):
            record = parse_record(text)
            assert all(":" in uri and not any(char.isspace() for char in uri) for uri in record.reports_to)
            assert len(record.reports_to) <= 10
            assert record.failure_options
            assert parse_record(text[:MAX_RECORD_CHARS]) == record


def sts_policy(octets: bytes) -> None:
    """A policy file, and records that say there is one: a policy within its bounds, or a fault in words."""
    policy = parse_policy(octets)
    if isinstance(policy, SyntaxFault):
        assert policy.reason
    else:
        assert policy.hosts or policy.mode is StsMode.NONE
        assert 0 <= policy.max_age_s <= 31_557_600
        assert all(covers(policy, host.replace("*.", "a.")) for host in policy.hosts)
    found = policy_id(octets.decode("latin-1").split("\n"))
    assert found is None or (found.isascii() and found.isalnum())


def tlsa_record(octets: bytes) -> None:
    """The data of a TLSA record, three octets and the rest: usable or not, and shown."""
    if len(octets) > 3:
        record = TlsaRecord(octets[0], octets[1], octets[2], octets[3:])
        assert str(record).isprintable()
        if is_usable(record):
            assert record.usage in (2, 3) and record.association


def verdicts(octets: bytes) -> None:
    """A header section: fields that say they are ours are out, no other is; what we write is told from all of them."""
    section = octets.replace(b"\r", b"").replace(b"\n", b"\r\n")
    kept = without_forged(section, _HOST)
    assert len(kept) <= len(section)
    assert without_forged(kept, _HOST) == kept
    vouching(section[: header_end(section)], _HOST)
    text = octets.decode("latin-1")
    result = MethodResult("dkim", "fail", (("header.d", text), ("header.s", "s")), reason=text, comment=text)
    field = authentication_results(_HOST, (result,))
    assert field.count(b"\n") == field.count(b"\r\n") and field.endswith(b"\r\n")
    assert max(map(len, field.split(b"\r\n"))) <= 998
    assert authserv_id_of(field.partition(b":")[2]) == _HOST
    # Nothing that a stranger wrote into a failed signature answers for anything.
    assert vouching(field, _HOST) == ()
    assert without_forged(field, _HOST) == b""


# --- what they start from ---------------------------------------------------------------------------------------------


def report_xml_seeds() -> Iterator[bytes]:
    yield from (samples.GOOGLE, samples.MICROSOFT, samples.OLD, samples.NEW)
    yield b'<!DOCTYPE f [<!ENTITY a "b">]><feedback>&a;</feedback>'


def report_json_seeds() -> Iterator[bytes]:
    yield from (samples.TLS_GOOGLE, samples.TLS_MICROSOFT)
    yield b"[[[[{}]]]]"


def report_mail_seeds() -> Iterator[bytes]:
    small = b"<?xml version='1.0'?><feedback><report_metadata/></feedback>"
    yield from (gzip.compress(small, mtime=0), samples.zipped(small), samples.mail(gzip.compress(small, mtime=0)))
    yield samples.alone(samples.zipped(small))
    yield zlib.compress(small)
    part = b"Content-Transfer-Encoding: quoted-printable\n\n=3C?xml?>\n"
    yield b"Content-Type: multipart/mixed; boundary=b\n\n--b\n" + part + b"--b--"


def spf_record_seeds() -> Iterator[bytes]:
    yield b"v=spf1 a mx/24//64 ip4:192.0.2.0/24 ip6:2001:db8::/32 include:_spf.%{d2r}.example ?exists:%{ir}.%{v}.x ~all"
    yield b"v=spf1 ptr:x.example redirect=_spf.example exp=why.%{o} unknown=%{S-}"


def dmarc_record_seeds() -> Iterator[bytes]:
    yield b"v=DMARC1; p=reject; sp=none; np=quarantine; rua=mailto:a@b.example!10m,https://x/; fo=1:d:s; adkim=s; t=y"
    yield b"v=DMARC1;p=none\nv=DMARC1"


def sts_policy_seeds() -> Iterator[bytes]:
    yield b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.org\r\nmx: *.example.net\r\nmax_age: 604800\r\n"
    yield b"v=STSv1; id=20250616T000000;\nv=STSv1;id=2"


def tlsa_record_seeds() -> Iterator[bytes]:
    yield b"\3\1\1" + b"x" * 32
    yield b"\2\0\2" + b"y" * 64
    yield b"\0\0\0z"


def verdicts_seeds() -> Iterator[bytes]:
    name = b"Authentication-Results: mail.example.org;\n "
    yield name + b"dkim=pass (a (b)) header.d=x.example; dmarc=pass header.from=y.example\n"
    yield b'authentication-results : (c) "mail.example.org" 1; spf=pass smtp.mailfrom="a b"@c.example\nReceived: x\n'
