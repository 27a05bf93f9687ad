"""`mailserver tlsrpt`: who could not deliver to us with TLS, and why, as others report it."""

import time

import click

from mailserver.cli.context import CliContext
from mailserver.cli.dmarc import marked, read_reports_file
from mailserver.cli.period import seconds
from mailserver.mail.reports import DAY_S
from mailserver.policy.reports.tls_summary import TlsSummary, tls_summaries

HEADINGS = ("SESSIONS", "TROUBLE", "MEANING", "HOSTS", "REPORTERS", "REMEDY")


@click.command()
@click.option(
    "--since", "since_text", metavar="TIME", default="7d", show_default=True, help="How far back, such as 30d."
)
@click.option("--domain", metavar="DOMAIN", default="", help="One domain of ours only.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
@click.pass_obj
def tlsrpt(context: CliContext, since_text: str, domain: str, as_json: bool) -> None:
    """Who could not deliver to us with TLS, and why?

    Others report each day how their connections to our mail hosts went (SMTP TLS reports). The running server reads
    these as they come to the address in our TLSRPT records; `mailserver dmarc import` reads them from files as well.
    Exit status 1 when somebody had trouble.
    """
    since_day = int((time.time() - seconds(since_text)) // DAY_S)
    domain = domain.lower().rstrip(".")
    rows = read_reports_file(context, lambda reader: reader.tls(since_day, domain)) or []
    found = tls_summaries(rows)
    if as_json:
        context.say_json([_object(one) for one in found])
    elif not found:
        about = domain or " or ".join(context.config.domains)
        context.say(f"there are no reports about TLS to {about} of the last {since_text}")
        context.say("  others send them when _smtp._tls names an address: mailserver dns shows the record")
    else:
        for one in found:
            context.say(f"{one.sentence} (told by {', '.join(marked(one.reporters))})")
            if one.troubles:
                context.say_table(HEADINGS, _rows(one))
    if any(one.failures for one in found):
        raise click.exceptions.Exit(1)


def _rows(summary: TlsSummary) -> list[tuple[str, ...]]:
    return [
        (
            f"{one.sessions:,}",
            one.result,
            one.meaning,
            ", ".join(one.hosts),
            ", ".join(marked(one.reporters)),
            one.remedy.replace("DOMAIN", summary.domain),
        )
        for one in summary.troubles
    ]


def _object(summary: TlsSummary) -> dict[str, object]:
    return {
        "domain": summary.domain,
        "successes": summary.successes,
        "failures": summary.failures,
        "policies": list(summary.kinds),
        "reporters": [{"name": name, "is_proven": proven} for name, proven in summary.reporters.items()],
        "troubles": [
            {
                "result": one.result,
                "sessions": one.sessions,
                "meaning": one.meaning,
                "remedy": one.remedy.replace("DOMAIN", summary.domain),
                "hosts": list(one.hosts),
                "said": list(one.said),
                "reporters": [{"name": name, "is_proven": proven} for name, proven in one.reporters.items()],
            }
            for one in summary.troubles
        ],
    }
