"""Reads an SMTP TLS report (RFC 8460 4.4): JSON. Pure, and bounded in what it takes of it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

from mailserver.mail.fault import SyntaxFault
from mailserver.mail.reports import TlsFailure, TlsPolicyResult, TlsReport
from mailserver.policy.reports import words

MAX_OCTETS = 5_000_000
MAX_POLICIES = 200
MAX_DETAILS = 1000
MAX_TEXTS = 30
_KINDS = ("tlsa", "sts", "no-policy-found")


def read_tls(octets: bytes) -> TlsReport | SyntaxFault:
    """The report in a JSON document."""
    if len(octets) > MAX_OCTETS:
        return SyntaxFault(f"it is larger than {MAX_OCTETS} octets")
    try:
        found = json.loads(octets.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError) as error:
        return SyntaxFault(f"it is not JSON: {error}")
    if not isinstance(found, dict) or not isinstance(found.get("policies"), list):
        return SyntaxFault("it is JSON, and not a report about TLS")
    period = _object(found, "date-range")
    begin, end = _moment(_text(period, "start-datetime")), _moment(_text(period, "end-datetime"))
    reporter, report_id = _text(found, "organization-name"), _text(found, "report-id")
    contact = _text(found, "contact-info")
    if begin is None or end is None or begin > end:
        return SyntaxFault("it does not tell which time it is about")
    if not (reporter or contact) or not report_id:
        return SyntaxFault("it does not tell who made it, or under which id")
    return TlsReport(reporter or contact, contact, report_id, begin, end, tuple(_policies(found["policies"])))


def _policies(written: list[object]) -> Iterator[TlsPolicyResult]:
    for one in written[:MAX_POLICIES]:
        if not isinstance(one, dict):
            continue
        policy, summary = _object(one, "policy"), _object(one, "summary")
        kind, domain = _text(policy, "policy-type"), words.domain(_text(policy, "policy-domain"))
        if kind not in _KINDS or not domain:
            continue
        details = one.get("failure-details")
        yield TlsPolicyResult(
            kind,
            domain,
            _count(summary, "total-successful-session-count"),
            _count(summary, "total-failure-session-count"),
            tuple(_failures(details if isinstance(details, list) else [])),
            _texts(policy, "policy-string"),
            _texts(policy, "mx-host"),
        )


def _failures(written: list[object]) -> Iterator[TlsFailure]:
    for one in written[:MAX_DETAILS]:
        if not isinstance(one, dict) or not _text(one, "result-type"):
            continue
        yield TlsFailure(
            _text(one, "result-type").lower(),
            _count(one, "failed-session-count"),
            words.address(_text(one, "sending-mta-ip")),
            _text(one, "receiving-mx-hostname").lower(),
            words.address(_text(one, "receiving-ip")),
            _text(one, "receiving-mx-helo"),
            _text(one, "failure-reason-code") or _text(one, "additional-information"),
        )


def _object(written: dict[str, object], name: str) -> dict[str, object]:
    value = written.get(name)
    return value if isinstance(value, dict) else {}


def _text(written: dict[str, object], name: str) -> str:
    value = written.get(name)
    return words.text(value) if isinstance(value, str) else ""


def _texts(written: dict[str, object], name: str) -> tuple[str, ...]:
    """A list of texts, or one text: reporters do both with `mx-host`."""
    value = written.get(name)
    several = value if isinstance(value, list) else [value]
    return tuple(words.text(one) for one in several[:MAX_TEXTS] if isinstance(one, str))


def _count(written: dict[str, object], name: str) -> int:
    value = written.get(name)
    if isinstance(value, str):  # some put numbers into quotes
        return words.count(value) or 0
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and isinstance(value, int) and 0 <= value <= words.MAX_COUNT else 0


def _moment(written: str) -> int | None:
    """RFC 3339; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(written)
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None
