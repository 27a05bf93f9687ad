"""Verdicts on signatures as parts of Authentication-Results (RFC 8601 2.7.1, RFC 8617 4.4)."""

from mailserver.mail.authentication_results import MethodResult
from mailserver.policy.dkim.result import ArcResult, DkimResult, SignatureResults


def method_results(found: SignatureResults) -> list[MethodResult]:
    """The chain, then each signature; `none` for a message without."""
    return [_arc(found.arc), *([_dkim(one) for one in found.dkim] or [MethodResult("dkim", "none")])]


def _dkim(one: DkimResult) -> MethodResult:
    properties = (
        ("header.d", one.domain),
        ("header.s", one.selector),
        ("header.a", one.algorithm),
        ("header.b", one.start),
    )
    comment = "the domain only tries DKIM out" if one.is_testing else ""
    return MethodResult("dkim", one.verdict.value, properties, one.reason, comment)


def _arc(found: ArcResult) -> MethodResult:
    comment = f"sealed by {', '.join(found.sealers)}" if found.sealers else ""
    return MethodResult("arc", found.verdict.value, reason=found.reason, comment=comment)
