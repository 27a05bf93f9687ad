"""A DMARC result as its part of Authentication-Results (RFC 8601 2.7, RFC 9989 9), and in words for people."""

from mailserver.mail.authentication_results import MethodResult
from mailserver.policy.dmarc.result import Disposition, DmarcResult, DmarcVerdict


def method_result(result: DmarcResult, done: Disposition) -> MethodResult:
    """`dmarc=fail (example.org asks for reject, done: none) header.from=example.org policy.dmarc=reject`."""
    properties = [("header.from", result.domain)]
    if result.verdict in (DmarcVerdict.PASS, DmarcVerdict.FAIL):
        properties.append(("policy.dmarc", result.policy.value))
    return MethodResult("dmarc", result.verdict.value, tuple(properties), comment=said(result, done))


def said(result: DmarcResult, done: Disposition) -> str:
    """The verdict in words."""
    match result.verdict:
        case DmarcVerdict.NONE:
            return result.problem or f"{result.domain} publishes no DMARC record"
        case DmarcVerdict.PASS:
            return f"{result.identifier} answers for it"
        case DmarcVerdict.FAIL:
            tries = ", and only tries DMARC out" if result.is_testing else ""
            return f"{result.record_at} asks for {result.policy.value}{tries}, done: {done.value}"
        case DmarcVerdict.TEMPERROR | DmarcVerdict.PERMERROR:
            return result.problem
