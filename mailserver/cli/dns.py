"""`mailserver dns`: the records to publish, and whether the world sees them."""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from mailserver.cli.context import CliContext
from mailserver.mail.address import canonical_domain
from mailserver.mail.reply import printable
from mailserver.policy.records.findings import Finding, Verdict
from mailserver.policy.records.publish import dmarc_next_steps, records_for, remarks_for
from mailserver.policy.records.values import Need, Record, zone_text

if TYPE_CHECKING:
    from mailserver.config import Config
    from mailserver.own_records import OwnFacts

_NEEDS = {
    Need.REQUIRED: "required",
    Need.RECOMMENDED: "recommended",
    Need.OPTIONAL: "optional",
    Need.ASK: "required (ask the provider)",
}


@dataclass(frozen=True, slots=True)
class _Looked:
    """The records of this server; `findings` is empty when nobody was to be asked about them."""

    records: tuple[Record, ...]
    remarks: tuple[str, ...]
    findings: tuple[Finding, ...]


@click.command()
@click.argument("domain", required=False)
@click.option("--check", "is_check", is_flag=True, help="Ask DNS, and say of each record whether it is right.")
@click.option("--zone", "is_zone", is_flag=True, help="Print the records as a zone file, remarks behind ;")
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
@click.option("--server", metavar="ADDRESS", help="Ask this name server and not the usual one.")
@click.pass_obj
def dns(
    context: CliContext, domain: str | None, is_check: bool, is_zone: bool, as_json: bool, server: str | None
) -> None:
    """DNS records: what to publish, and is it right?

    \b
    mailserver dns                       the records, to type in at your DNS provider
    mailserver dns --zone example.org    those of one domain as a zone file
    mailserver dns --check               does the world see them? what is wrong, what is to be published

    With DOMAIN only those at it and below. Works whether the server runs or not. With --check, exit status 1 when
    something that mail needs is missing or wrong. What seems so is looked at once more at the domain's own name
    servers, which remember nothing.
    """
    if is_zone and (is_check or as_json):
        raise click.UsageError("--zone prints the records alone: leave --check and --json out")
    looked = _look(context, _zone(domain), is_check, _name_servers(context, server))
    if not looked.records:
        context.refuse(f"no record of this server is at {domain} or below it")
    if as_json:
        context.say_json(_object(looked))
    elif is_zone:
        click.echo(zone_text(looked.records, looked.remarks), nl=False)
    elif is_check:
        _say_findings(context, looked)
    else:
        _say_records(context, looked)
    if any(one.is_failure for one in looked.findings):
        raise click.exceptions.Exit(1)


# --- looking ----------------------------------------------------------------------------------------------------------


def _name_servers(context: CliContext, written: str | None) -> tuple[tuple[str, int], ...]:
    """Whom to ask: the one that was named, else those of the configuration (none: the system's)."""
    if written is None:
        return context.config.dns.servers
    from mailserver.config.fault import Wrong
    from mailserver.config.values import name_server

    try:
        found: Any = name_server.read(written, context.config.path.parent)
    except Wrong as wrong:
        raise click.UsageError(f"--server: {wrong}") from None
    return (found,)


def _zone(written: str | None) -> str:
    """The canonical domain; empty for all."""
    if written is None:
        return ""
    name = canonical_domain(written.removesuffix("."))
    if name is None or name.startswith("["):
        raise click.UsageError(f"{printable(written)!r} is not a domain")
    return name


def _is_in(name: str, zone: str) -> bool:
    return not zone or name == zone or name.endswith(f".{zone}")


def _look(context: CliContext, zone: str, is_check: bool, servers: Sequence[tuple[str, int]]) -> _Looked:
    """Under a reactor of its own."""
    from twisted.internet import task
    from twisted.internet.defer import Deferred

    from mailserver.net.authority import AuthoritativeResolver
    from mailserver.net.clock import ReactorClock
    from mailserver.net.resolver import CachingResolver
    from mailserver.own_records import own_facts
    from mailserver.survey.machine import LinuxMachine
    from mailserver.survey.own_addresses import own_addresses
    from mailserver.survey.records import check_records

    config = context.config
    done: list[_Looked] = []

    async def look(reactor: Any) -> None:
        clock = ReactorClock(reactor)
        resolver = CachingResolver(reactor, clock, config.dns.servers)
        found = await own_addresses(LinuxMachine(), resolver, clock, config.hostname, config.doctor.addresses)
        facts = own_facts(config, found.addresses, time.time())
        records = tuple(one for one in records_for(facts.site) if _is_in(one.name, zone))
        findings: tuple[Finding, ...] = ()
        if is_check:
            asked = CachingResolver(reactor, clock, servers)
            authority = AuthoritativeResolver(asked, lambda those: CachingResolver(reactor, clock, those))
            findings = await check_records(records, facts.site, asked, clock, authority=authority)
        done.append(_Looked(records, _remarks(config, found.remark, facts, is_check), findings))

    try:
        task.react(lambda reactor: Deferred.fromCoroutine(look(reactor)))
    except SystemExit as end:
        if end.code:
            raise
    return done[0]


def _remarks(config: "Config", about_addresses: str, facts: "OwnFacts", is_check: bool) -> tuple[str, ...]:
    """How to go on with DMARC is told with its record where that is looked at."""
    practice = "this is a practice set-up: nothing has to be published for it" if config.practice.accounts else ""
    next_steps = "" if is_check else dmarc_next_steps(" and ".join(facts.site.domains))
    told = (practice, about_addresses, *facts.troubles, *remarks_for(facts.site), next_steps)
    return tuple(one for one in told if one)


# --- telling ----------------------------------------------------------------------------------------------------------


def _say_records(context: CliContext, looked: _Looked) -> None:
    """On a terminal each value has lines of its own, so that it can be copied, however long it is."""
    if sys.stdout.isatty():
        for line in _listed(looked.records):
            context.say(printable(line))
    else:
        context.say_table((), ((one.name, one.kind, one.text, _NEEDS[one.need], one.purpose) for one in looked.records))
    _say_remarks(looked)


def _listed(records: Sequence[Record]) -> Iterator[str]:
    width = max((len(one.name) for one in records), default=0)
    yield f"{'TYPE':7}{'NAME':{width + 2}}NEED"
    for one in records:
        yield f"{one.kind:7}{one.name:{width + 2}}{_NEEDS[one.need]}"
        yield f"{'':7}{one.text}"
        yield f"{'':7}; {one.purpose}"


def _say_remarks(looked: _Looked) -> None:
    for remark in looked.remarks:
        click.echo(f"note: {printable(remark)}", err=True)


def _say_findings(context: CliContext, looked: _Looked) -> None:
    """The verdicts in a table, then what is to be done about each that is not right, so that it can be copied."""
    context.say_table(
        ("VERDICT", "TYPE", "NAME", "FINDING"),
        ((one.verdict.value, one.record.kind, one.record.name, one.reason) for one in looked.findings),
    )
    for one in looked.findings:
        if one.is_trouble:
            context.say("")
            for line in _trouble(one):
                context.say(line)
    context.say("")
    context.say(_sentence(looked.findings))
    _say_remarks(looked)


def _trouble(one: Finding) -> list[str]:
    record = one.record
    head = f"{record.name} {record.kind}: {one.verdict.value}, {_NEEDS[record.need]}: {one.reason}"
    is_asked_for = record.need is Need.ASK and one.publish == record.zone_line
    verb = "ask the provider of the address for" if is_asked_for else "publish"
    found = [f"  there is: {text}" for text in one.found]
    return [head, f"  purpose: {record.purpose}", *found, f"  {verb}: {one.publish}"]


def _sentence(findings: Sequence[Finding]) -> str:
    counts = {verdict: sum(one.verdict is verdict for one in findings) for verdict in Verdict}
    parts = [f"{count} {verdict.value}" for verdict, count in counts.items() if count]
    failed = sum(one.is_failure for one in findings)
    end = f"; mail suffers from {failed}" if failed else ""
    return f"{', '.join(parts)}{end}"


def _object(looked: _Looked) -> dict[str, object]:
    findings = {id(one.record): one for one in looked.findings}
    return {
        "records": [_record(one, findings.get(id(one))) for one in looked.records],
        "remarks": list(looked.remarks),
    }


def _record(one: Record, finding: Finding | None) -> dict[str, object]:
    about: dict[str, object] = {
        "name": one.name,
        "type": one.kind,
        "value": one.value,
        "text": one.text,
        "topic": one.topic.value,
        "need": one.need.value,
        "purpose": one.purpose,
        "zone_line": one.zone_line,
    }
    if finding is not None:
        about |= {
            "verdict": finding.verdict.value,
            "found": list(finding.found),
            "reason": finding.reason,
            "publish": finding.publish,
            "is_failure": finding.is_failure,
        }
    return about
