"""The mail that carries a report of ours (RFC 9990 3.5.2, RFC 8460 5.3): a text for people, and the report packed.

The reverse-path is the null one, so that a destination that is gone makes no mail. What the standards ask of the
sender is met by the signature: DMARC aligned with From, and for TLSRPT a whole body (no `l=`) and a key for every
service (its record has no `s=`, RFC 6376 3.6.1, RFC 8460 3).
"""

import gzip
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formataddr, formatdate

from mailserver.mail.address import Mailbox
from mailserver.mail.reports import DmarcReport, Report, TlsReport
from mailserver.policy.reports.dmarc_write import write_dmarc
from mailserver.policy.reports.tls_write import write_tls

# Programs read the subject and the name of the attachment: they stay on one line, unless a domain is very long.
_POLICY = SMTP.clone(max_line_length=400)


@dataclass(frozen=True, slots=True)
class Letterhead:
    """Who reports: our host name, and the mailbox in From where an answer reaches a person."""

    hostname: str
    sender: Mailbox


def letter(head: Letterhead, report: Report, domain: str, to: tuple[Mailbox, ...], now: float) -> bytes:
    """The whole message, unsigned, CRLF line ends. The same report makes the same attachment under the same name."""
    message = EmailMessage(policy=_POLICY)
    message["From"] = formataddr((f"Mail server {head.hostname}", str(head.sender)))
    message["To"] = ", ".join(str(one) for one in to)
    message["Subject"] = f"Report Domain: {domain} Submitter: {head.hostname} Report-ID: <{report.report_id}>"
    message["Date"] = formatdate(now)
    message["Message-ID"] = f"<{report.report_id}>"
    message["Auto-Submitted"] = "auto-generated"
    name = f"{head.hostname}!{domain}!{report.begin}!{report.end}"
    if isinstance(report, TlsReport):
        _tls_parts(message, head, report, domain, name)
    else:
        _dmarc_parts(message, report, domain, name)
    return message.as_bytes()


def _dmarc_parts(message: EmailMessage, report: DmarcReport, domain: str, name: str) -> None:
    count = sum(row.count for row in report.rows)
    message.set_content(
        f"This is a DMARC aggregate report (RFC 9990) about {domain}: {count} messages to {report.reporter}.\n"
        "It is meant for programs, and was sent because the DMARC record of the domain asks for it.\n",
        cte="7bit",
    )
    packed = gzip.compress(write_dmarc(report), mtime=report.begin)
    message.add_attachment(packed, maintype="application", subtype="gzip", filename=f"{name}.xml.gz")


def packed_tls(report: TlsReport) -> bytes:
    """The report as it is attached, or posted (RFC 8460 5.2)."""
    return gzip.compress(write_tls(report), mtime=report.begin)


def _tls_parts(message: EmailMessage, head: Letterhead, report: TlsReport, domain: str, name: str) -> None:
    message["TLS-Report-Domain"] = domain
    message["TLS-Report-Submitter"] = head.hostname
    # A report has to arrive although TLS does not work: that may be what it tells (RFC 8460 3, RFC 8689 3).
    message["TLS-Required"] = "No"
    message.set_content(
        f"This is a report about TLS (RFC 8460) to the mail hosts of {domain}, as {report.reporter} saw them.\n"
        "It is meant for programs, and was sent because the record _smtp._tls of the domain asks for it.\n",
        cte="7bit",
    )
    packed = packed_tls(report)
    message.add_attachment(packed, maintype="application", subtype="tlsrpt+gzip", filename=f"{name}!001.json.gz")
    message.replace_header("Content-Type", 'multipart/report; report-type="tlsrpt"')
