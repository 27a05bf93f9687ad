"""Why a record is missing or wrong, where that is a common slip: it helps more than the finding alone.

- a wildcard record answers for a name that has none of its own;
- the quotes of a zone file were typed into a form;
- the domain was typed where the provider adds it, so that it stands there twice;
- the record stands at the domain itself, or without a part of its name.
"""

from dataclasses import replace

from mailserver.policy.records.findings import Finding, Verdict
from mailserver.policy.records.look import Look, as_found
from mailserver.policy.records.values import Record, unquoted

# Where the name servers of a domain answer to a name that nobody has published, it comes from a wildcard.
_PROBE = "mailserver-looks-for-wildcards"
# What a finding is compared with: who has a TXT record knows its text, everything else is as in a zone file.
_HAS_PROBE = ("TXT", "CNAME", "SRV")


async def explained(finding: Finding, look: Look) -> Finding:
    """The finding, with the slip behind it when it is a known one. Only for what is missing or wrong."""
    if finding.found:
        told = _typed_quotes(finding) or await _wildcard(finding, look)
    else:
        told = await _elsewhere(finding.record, look) if finding.verdict is Verdict.MISSING else ""
    if not told:
        return finding
    return replace(finding, reason=f"{finding.reason}; {told}" if finding.reason else told)


def _typed_quotes(finding: Finding) -> str:
    if finding.record.kind == "TXT" and any(unquoted(one).startswith('"') for one in finding.found):
        return "the quotes are part of the text that is there: type it in without them"
    return ""


async def _wildcard(finding: Finding, look: Look) -> str:
    """A record for all names of a domain is easily taken for one of this name."""
    parent = finding.record.name.partition(".")[2]
    if "." not in parent or finding.record.kind not in _HAS_PROBE:
        return ""
    # What stands for a web host's alias is where it leads.
    kind = "A" if finding.record.kind == "CNAME" else finding.record.kind
    if not set(await _values(f"{_PROBE}.{parent}", kind, look)) & set(finding.found):
        return ""
    return f"what is there comes from a wildcard, *.{parent}; a record of its own goes before it"


async def _elsewhere(record: Record, look: Look) -> str:
    """Whether the very same record stands at a name where it does nothing."""
    domain = _domain_of(record, look)
    if not domain:
        return ""
    wanted = as_found((record.text,))[0] if record.kind == "TXT" else record.value
    label = record.name.removesuffix(domain).rstrip(".") or "@"
    if wanted in await _values(f"{record.name}.{domain}", record.kind, look):
        return (
            f"it stands at {record.name}.{domain}: your provider adds {domain} by itself, so the name is only {label}"
        )
    if record.kind != "TXT" or record.name == domain:
        return ""
    for name in dict.fromkeys((domain, record.name.replace("._domainkey.", "."))):
        if name != record.name and wanted in await _values(name, record.kind, look):
            return f"it stands at {name}, where nobody looks for it; the name is {label}"
    return ""


def _domain_of(record: Record, look: Look) -> str:
    """The domain of ours that the record is in; the longest when they are nested. Else where our host is."""
    ours = (*look.site.domains, look.site.hostname.partition(".")[2])
    found = [one for one in ours if "." in one and (record.name == one or record.name.endswith(f".{one}"))]
    return max(found, key=len, default="")


async def _values(name: str, kind: str, look: Look) -> tuple[str, ...]:
    """What stands at a name, as a `Finding` has it; nothing for whatever DNS cannot tell."""
    if len(name) > 253:
        return ()
    if kind == "TXT":
        return as_found(await look.resolver.text(name))
    answer = (await look.resolver.records(name, kind)).answer
    return answer if isinstance(answer, tuple) else ()
