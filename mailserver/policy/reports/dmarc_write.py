"""Writes a DMARC aggregate report: XML of RFC 9990 3.1 and appendix A. Pure.

Decisions: `disposition` is `none` for messages that passed, which every reader since RFC 7489 knows; `pass` is newer.
Elements stand in the order in which the older schemas want them too.
"""

from collections.abc import Iterable, Iterator
from xml.sax.saxutils import escape

from mailserver.mail.reports import DmarcReport, DmarcRow, PublishedPolicy

NAMESPACE = "urn:ietf:params:xml:ns:dmarc-2.0"
# RFC 9990: no more signatures for a row.
MAX_SIGNATURES = 100


def write_dmarc(report: DmarcReport, *, generator: str = "mailserver") -> bytes:
    """The document, in UTF-8."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<feedback xmlns="{NAMESPACE}">',
        _leaf("version", "1.0"),
        *_element(
            "report_metadata",
            (
                _leaf("org_name", report.reporter),
                _leaf("email", report.contact),
                _leaf("report_id", report.report_id),
                *_element("date_range", (_leaf("begin", report.begin), _leaf("end", report.end))),
                _leaf("generator", generator),
            ),
        ),
        *_element("policy_published", _policy(report.policy)),
    ]
    for row in report.rows:
        lines += _element("record", _record(row))
    lines.append("</feedback>")
    return ("\n".join(lines) + "\n").encode("utf-8")


def _policy(policy: PublishedPolicy) -> Iterator[str]:
    """Tags that are not said have their default values (RFC 9990 3.1.1.5)."""
    below = policy.subdomains or policy.policy
    yield _leaf("domain", policy.domain)
    yield _leaf("discovery_method", "treewalk")
    yield _leaf("p", policy.policy)
    yield _leaf("sp", below)
    yield _leaf("np", policy.nonexistent or below)
    yield _leaf("fo", policy.failure_options or "0")
    yield _leaf("adkim", policy.dkim)
    yield _leaf("aspf", policy.spf)
    yield _leaf("testing", "y" if policy.is_testing else "n")


def _record(row: DmarcRow) -> Iterator[str]:
    reasons = [part for reason in row.reasons for part in _element("reason", _reason(reason))]
    evaluated = _element(
        "policy_evaluated",
        (
            _leaf("disposition", row.disposition),
            _leaf("dkim", _passed(row.dkim)),
            _leaf("spf", _passed(row.spf)),
            *reasons,
        ),
    )
    yield from _element("row", (_leaf("source_ip", row.source), _leaf("count", row.count), *evaluated))
    yield from _element(
        "identifiers", (_leaf("header_from", row.header_from), _leaf("envelope_from", row.envelope_from))
    )
    results: list[str] = []
    for one in row.signatures[:MAX_SIGNATURES]:
        parts = (_leaf("domain", one.domain), _leaf("selector", one.selector), _leaf("result", one.result))
        results += _element("dkim", parts)
    if row.spf_domain:
        parts = (_leaf("domain", row.spf_domain), _leaf("scope", "mfrom"), _leaf("result", row.spf_result))
        results += _element("spf", parts)
    yield from _element("auth_results", results)


def _reason(reason: str) -> Iterator[str]:
    kind, _, comment = reason.partition(": ")
    yield _leaf("type", kind)
    if comment:
        yield _leaf("comment", comment)


def _passed(has_passed: bool) -> str:
    return "pass" if has_passed else "fail"


def _element(name: str, inner: Iterable[str]) -> list[str]:
    return [f"<{name}>", *(f"  {line}" for line in inner), f"</{name}>"]


def _leaf(name: str, value: str | int) -> str:
    text = "".join(char for char in str(value) if char >= " " and not "\ud800" <= char <= "\udfff")
    return f"<{name}>{escape(text.replace(chr(0xFFFE), '').replace(chr(0xFFFF), ''))}</{name}>"
