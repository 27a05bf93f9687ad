"""What a report is about, and how much it tells. Pure."""

from mailserver.mail.reports import DAY_S, DmarcReport, Report

# Others' clocks, and their days, are not ours.
_MAX_AHEAD_S = 2 * DAY_S


def domains_of(report: Report) -> tuple[str, ...]:
    """The domains that a report is about, each once."""
    if isinstance(report, DmarcReport):
        return (report.policy.domain,)
    return tuple(dict.fromkeys(one.domain for one in report.policies))


def is_ours(domain: str, domains: tuple[str, ...]) -> bool:
    """Whether a domain is one of these, or below one: anybody can send a report about any other."""
    return any(domain == one or domain.endswith(f".{one}") for one in domains)


def is_yet_to_come(report: Report, now: float) -> bool:
    """Whether it is about a time that nobody can know of. It would be the last to be forgotten, after all true ones."""
    return report.end > now + _MAX_AHEAD_S


def figures(report: Report, domain: str) -> tuple[str, int, int]:
    """Its kind, its messages or sessions to that domain, and the rows that made no sense."""
    if isinstance(report, DmarcReport):
        return "dmarc", sum(row.count for row in report.rows), report.skipped
    return "tls", sum(one.successes + one.failures for one in report.policies if one.domain == domain), 0
