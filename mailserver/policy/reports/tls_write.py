"""Writes an SMTP TLS report: JSON of RFC 8460 4.4. Pure."""

import json
from datetime import UTC, datetime

from mailserver.mail.reports import TlsFailure, TlsPolicyResult, TlsReport


def write_tls(report: TlsReport) -> bytes:
    """The document, in UTF-8."""
    document = {
        "organization-name": report.reporter,
        "date-range": {"start-datetime": _moment(report.begin), "end-datetime": _moment(report.end)},
        "contact-info": report.contact,
        "report-id": report.report_id,
        "policies": [_policy(one) for one in report.policies],
    }
    return json.dumps(document, ensure_ascii=False, indent=1).encode("utf-8", "replace")


def _policy(one: TlsPolicyResult) -> dict[str, object]:
    policy: dict[str, object] = {"policy-type": one.kind}
    if one.texts:
        policy["policy-string"] = list(one.texts)
    policy["policy-domain"] = one.domain
    if one.hosts:
        policy["mx-host"] = list(one.hosts)
    told: dict[str, object] = {
        "policy": policy,
        "summary": {"total-successful-session-count": one.successes, "total-failure-session-count": one.failures},
    }
    if one.details:
        told["failure-details"] = [_failure(detail) for detail in one.details]
    return told


def _failure(one: TlsFailure) -> dict[str, object]:
    """What is not known is left out."""
    fields: dict[str, object] = {
        "result-type": one.result,
        "sending-mta-ip": one.sending_ip,
        "receiving-mx-hostname": one.host,
        "receiving-mx-helo": one.hello,
        "receiving-ip": one.host_ip,
        "failed-session-count": one.count,
        "failure-reason-code": one.reason,
    }
    return {name: value for name, value in fields.items() if value != ""}


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
