"""The one reader of reports: octets of a message or a file in, reports or faults out. Pure, blocks up to seconds."""

from mailserver.mail.fault import SyntaxFault
from mailserver.mail.reports import Report
from mailserver.policy.reports.container import reports_in


def read_reports(octets: bytes) -> list[Report | SyntaxFault]:
    """Everything in a message or a file that is a report, or looks like one and cannot be read."""
    return [one if isinstance(one, SyntaxFault) else _report(one) for one in reports_in(octets)]


def _report(octets: bytes) -> Report | SyntaxFault:
    if octets.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        from mailserver.policy.reports.tls_read import read_tls

        return read_tls(octets)
    # XML is read with a library that a server that gets no reports never needs.
    from mailserver.policy.reports.dmarc_read import read_dmarc

    return read_dmarc(octets)
