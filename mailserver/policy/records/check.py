"""Compares a record with what the world sees: right, missing, wrong, or not to be looked up now.

What means the same is right, however it is written: a TXT record in other strings, tags in another order, an SPF record
that lets our addresses send by other means, a stricter DMARC policy, another preference. What DNS cannot tell now is
never *missing*. Nobody but name servers is asked.
"""

from collections.abc import Awaitable, Callable, Mapping

from mailserver.policy.records.check_hosts import check_address, check_mx, check_reverse, check_service, check_web_host
from mailserver.policy.records.check_keys import check_caa, check_dkim, check_tlsa
from mailserver.policy.records.check_spf import check_spf
from mailserver.policy.records.check_texts import check_consent, check_dmarc, check_mta_sts, check_tls_reports
from mailserver.policy.records.findings import Finding, Verdict
from mailserver.policy.records.look import Look
from mailserver.policy.records.mistakes import explained
from mailserver.policy.records.values import Record, Site, Topic
from mailserver.ports import Clock, RecordResolver

_Check = Callable[[Record, Look], Awaitable[Finding]]
_CHECKS: Mapping[Topic, _Check] = {
    Topic.MX: check_mx,
    Topic.ADDRESS: check_address,
    Topic.REVERSE: check_reverse,
    Topic.SPF: check_spf,
    Topic.HELO_SPF: check_spf,
    Topic.DKIM: check_dkim,
    Topic.DMARC: check_dmarc,
    Topic.DMARC_REPORTS: check_consent,
    Topic.MTA_STS: check_mta_sts,
    Topic.TLSRPT: check_tls_reports,
    Topic.TLSA: check_tlsa,
    Topic.SERVICE: check_service,
    Topic.NO_SERVICE: check_service,
    Topic.WEB_HOST: check_web_host,
    Topic.CAA: check_caa,
}


async def check_record(record: Record, site: Site, resolver: RecordResolver, clock: Clock) -> Finding:
    """What the world sees of one record of this site. Never raises for anything that DNS holds.

    It may take as long as several look-ups, one after the other; whoever waits sets the limit (`unanswered`).
    """
    look = Look(site, resolver, clock)
    found = await _CHECKS[record.topic](record, look)
    return await explained(found, look) if found.is_trouble else found


def unanswered(record: Record) -> Finding:
    """What to say of a record whose check took too long."""
    return Finding(record, Verdict.UNKNOWN, reason="it could not be looked up: DNS took too long")
