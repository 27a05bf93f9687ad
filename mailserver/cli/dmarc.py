"""`mailserver dmarc`: who sends in our name, as others report it; and reports read by hand."""

import socket
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from mailserver.cli.context import CliContext
from mailserver.cli.history import ask_history
from mailserver.cli.period import seconds
from mailserver.mail.reports import DAY_S
from mailserver.policy.reports.dmarc_summary import Source, Summary, sentences, summaries
from mailserver.store.journal_format import JournalUnavailable
from mailserver.store.reports_format import reports_path
from mailserver.store.reports_read import ReportReader

if TYPE_CHECKING:
    from mailserver.mail.reports import Report
    from mailserver.store.reports import ReportStore

T = TypeVar("T")
HEADINGS = ("SOURCE", "MESSAGES", "SPF", "DKIM", "FAILED", "DONE", "SIGNED BY", "SPF OF", "REPORTERS")
# Names of so many sources are asked for, within so many seconds in all.
_MOST_NAMES = 30
_NAMES_S = 5.0
_MOST_SHOWN = 3


@click.group(invoke_without_command=True)
@click.option(
    "--since", "since_text", metavar="TIME", default="7d", show_default=True, help="How far back, such as 30d."
)
@click.option("--domain", metavar="DOMAIN", default="", help="One domain of ours only.")
@click.option("--names", "with_names", is_flag=True, help="Ask DNS for the names of the sources.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
@click.pass_context
def dmarc(command: click.Context, since_text: str, domain: str, with_names: bool, as_json: bool) -> None:
    """Who sends mail in our name?

    Others report each day what they saw come in with our domains in From, from where, and whether SPF and DKIM passed
    for it (DMARC aggregate reports). The running server reads these as they come to the address in our DMARC records.
    """
    if command.invoked_subcommand is not None:
        return
    context: CliContext = command.obj
    since_day = int((time.time() - seconds(since_text)) // DAY_S)
    domain = domain.lower().rstrip(".")
    rows = read_reports_file(context, lambda reader: reader.rows(since_day, domain)) or []
    found = summaries(rows, own_addresses(context))
    names = _names(one.address for summary in found for one in summary.sources) if with_names else {}
    if as_json:
        context.say_json([_object(summary, names) for summary in found])
        return
    if not found:
        context.say(_nothing(context, since_text, domain))
        return
    for number, summary in enumerate(found):
        if number:
            context.say("")
        told = f"policy p={summary.policy}" if summary.policy else "no policy"
        context.say(f"{summary.domain}: {summary.messages:,} messages, {told}, {_days(summary.days)}")
        context.say_table(HEADINGS, (_cells(one, names) for one in summary.sources))
        for sentence in sentences(summary):
            context.say(f"- {sentence}")


@dmarc.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(allow_dash=True))
@click.pass_obj
def import_(context: CliContext, files: tuple[str, ...]) -> None:
    """Read reports from files, or from standard input (-).

    Each is a report (XML, JSON, zip or gzip, about DMARC or TLS) or a message with one. Works whether the server runs
    or not. A report that was read before counts once. Exit status 1 when one could not be read.
    """
    from mailserver.mail.fault import SyntaxFault
    from mailserver.policy.reports.container import MAX_OCTETS
    from mailserver.policy.reports.read import read_reports
    from mailserver.store.reports import ReportStore

    contents = [(name, _octets(context, name, MAX_OCTETS)) for name in files]
    context.become_owner()
    store = ReportStore(reports_path(context.config.storage.state))
    is_well = True
    for name, octets in contents:
        found = read_reports(octets) if octets is not None else []
        if octets is None or not found:
            is_well = False
            click.echo(f"{name}: there is no report in it", err=True)
        for one in found:
            if isinstance(one, SyntaxFault):
                is_well = False
                click.echo(f"{name}: {one.reason}", err=True)
            else:
                is_well = _keep(context, store, name, one) and is_well
    if not is_well:
        raise click.exceptions.Exit(1)


def _keep(context: CliContext, store: "ReportStore", name: str, report: "Report") -> bool:
    """Whether it is about a domain of ours, and is there now."""
    from mailserver.mail.reports import IMPORTED
    from mailserver.policy.reports.about import domains_of, figures, is_ours, is_yet_to_come

    domains = [domain for domain in domains_of(report) if is_ours(domain, context.config.domains)]
    if not domains:
        told = ", ".join(domains_of(report)) or "nobody"
        click.echo(f"{name}: it is about {told}, which is none of our domains", err=True)
        return False
    if is_yet_to_come(report, time.time()):
        click.echo(f"{name}: it is about a time that is yet to come", err=True)
        return False
    for domain in domains:
        try:
            is_new = store.add(report, domain, IMPORTED, time.time())
        except JournalUnavailable as trouble:
            context.refuse(str(trouble))
        kind, count, skipped = figures(report, domain)
        what = "messages" if kind == "dmarc" else "sessions"
        told = f"{name}: {report.reporter} about {domain}: {count:,} {what}"
        told += f", {skipped:,} rows made no sense" if skipped else ""
        context.say(told if is_new else f"{told} (was there before)")
    return True


def _octets(context: CliContext, name: str, most: int) -> bytes | None:
    """Not more than is looked at; None for a file that is no report for its size alone."""
    try:
        if name == "-":
            octets = sys.stdin.buffer.read(most + 1)
        else:
            with Path(name).open("rb") as file:
                octets = file.read(most + 1)
    except OSError as error:
        context.refuse(f"{name}: {(error.strerror or str(error)).lower()}")
    return octets if len(octets) <= most else None


# --- what there is ----------------------------------------------------------------------------------------------------


def read_reports_file(context: CliContext, ask: Callable[[ReportReader], T]) -> T | None:
    """An answer from the file of reports; None when there is none yet. Raises `Refusal` for trouble."""
    return ask_history(context, ReportReader, reports_path(context.config.storage.state), ask)


def own_addresses(context: CliContext) -> frozenset[str]:
    """Addresses that this server sends from, as far as configuration and DNS tell."""
    config = context.config
    told = [*config.doctor.addresses, config.relay.source_address, config.relay.source_address6]
    found = {str(one) for one in told if one is not None}
    for answer in _in_time([config.hostname], _addresses_of):
        found.update(answer)
    return frozenset(found)


def _addresses_of(host: str) -> list[str]:
    try:
        return [str(entry[4][0]) for entry in socket.getaddrinfo(host, 25, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):
        return []


def _names(addresses: Iterable[str]) -> dict[str, str]:
    asked = list(dict.fromkeys(addresses))[:_MOST_NAMES]
    answers = _in_time(asked, _name_of)
    return {address: name for answer in answers for address, name in answer.items()}


def _name_of(address: str) -> dict[str, str]:
    try:
        return {address: socket.getnameinfo((address, 0), socket.NI_NAMEREQD)[0]}
    except (OSError, UnicodeError):
        return {}


def _in_time(questions: list[str], ask: Callable[[str], T]) -> list[T]:
    """Answers of the system's resolver that are there in time; it has no limit of its own that we could set."""
    import threading

    answers: list[T] = []
    threads = [threading.Thread(target=lambda one=one: answers.append(ask(one)), daemon=True) for one in questions]
    for thread in threads:
        thread.start()
    until = time.monotonic() + _NAMES_S
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return list(answers)


# --- how it is shown --------------------------------------------------------------------------------------------------


def _cells(one: Source, names: dict[str, str]) -> tuple[str, ...]:
    name = names.get(one.address, "")
    own = " (ours)" if one.is_ours else ""
    done = ", ".join(f"{word} {count:,}" for word, count in sorted(one.dispositions.items()) if word != "none")
    return (
        f"{one.address}{own}" + (f" {name}" if name else ""),
        f"{one.messages:,}",
        f"{one.spf:,}",
        f"{one.dkim:,}",
        f"{one.failed:,}",
        done or "none",
        _some(one.dkim_domains),
        _some(one.spf_domains),
        _some(marked(one.reporters)),
    )


def marked(reporters: dict[str, bool]) -> list[str]:
    """Those that nobody vouches for with a star."""
    return [name if is_proven else f"{name}*" for name, is_proven in reporters.items()]


def _days(count: int) -> str:
    return "no reports that anybody vouches for" if not count else f"reports about {count} day{'s' * (count > 1)}"


def _some(names: Iterable[str]) -> str:
    found = list(names)
    more = len(found) - _MOST_SHOWN
    return ", ".join(found[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _object(summary: Summary, names: dict[str, str]) -> dict[str, object]:
    return {
        "domain": summary.domain,
        "policy": summary.policy,
        "days": summary.days,
        "messages": summary.messages,
        "sources": [
            {
                "address": one.address,
                "name": names.get(one.address),
                "is_ours": one.is_ours,
                "messages": one.messages,
                "passed": one.passed,
                "spf_passed": one.spf,
                "dkim_passed": one.dkim,
                "failed": one.failed,
                "unproven": one.unproven,
                "dispositions": dict(one.dispositions),
                "from_domains": list(one.from_domains),
                "dkim_domains": list(one.dkim_domains),
                "spf_domains": list(one.spf_domains),
                "reporters": [{"name": name, "is_proven": proven} for name, proven in one.reporters.items()],
            }
            for one in summary.sources
        ],
        "findings": sentences(summary),
    }


def _nothing(context: CliContext, since_text: str, domain: str) -> str:
    about = domain or " or ".join(context.config.domains)
    lines = [f"there are no reports about {about} of the last {since_text}"]
    if not context.config.reports.read:
        lines.append("reports that come in are not read: reports.read is false")
    else:
        addresses = ", ".join(sorted(context.config.reports.addresses(context.config.domains)))
        lines.append(f"they are read when they come to {addresses}; the DMARC record has to name it (rua)")
        lines.append("mailserver dns shows the record; after it is published, others report within two days")
    return "\n  ".join(lines)
