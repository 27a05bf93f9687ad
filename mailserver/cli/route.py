"""`mailserver route`: where does mail for an address go?"""

from typing import assert_never

import click

from mailserver.cli import route_protection
from mailserver.cli.context import CliContext
from mailserver.cli.directory import load_accounts
from mailserver.cli.route_memory import as_object, lines, remembered
from mailserver.config import Config, SmarthostTls
from mailserver.mail.address import Mailbox, parse_mailbox
from mailserver.mail.fault import SyntaxFault
from mailserver.mail.reply import printable
from mailserver.policy.routing import (
    CyclicAlias,
    DanglingAlias,
    DisabledMailbox,
    Elsewhere,
    Here,
    Route,
    UnknownMailbox,
    find_route,
)
from mailserver.store.paths import maildir_path


@click.command()
@click.argument("address")
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
@click.pass_obj
def route(context: CliContext, address: str, as_json: bool) -> None:
    """Where mail for ADDRESS goes, and why.

    The same rules that answer a sending server decide here, and nothing is sent. For mail that leaves, what is
    remembered of its hosts stands below: their TLS, and whether IPv4 comes first now. A server that runs also looks
    up what its hosts are held to now (DANE, MTA-STS), and why. Exit status 1 when such mail is refused.
    """
    mailbox = parse_mailbox(address)
    if isinstance(mailbox, SyntaxFault):
        raise click.UsageError(f"{printable(address)}: {mailbox.reason}")
    accounts = load_accounts(context)
    found = find_route(mailbox, accounts)
    if as_json:
        context.say_json(_as_object(context.config, mailbox, found))
    else:
        for step in found.steps:
            context.say(step)
        for line in _verdict(context.config, mailbox, found):
            context.say(line)
        for one in _outside(mailbox, found):
            for line in lines(remembered(context.config, one)):
                context.say(printable(line))
            for line in _protection(context.config, one):
                context.say(printable(line))
    if not isinstance(found, Here | Elsewhere):
        raise click.exceptions.Exit(1)


def _verdict(config: Config, mailbox: Mailbox, found: Route) -> list[str]:
    match found:
        case Here(mailboxes, outside, _):
            return [f"filed in {maildir_path(config.storage.maildirs, one)}" for one in mailboxes] + [
                f"sent on to {one}: {next_hop(config, one)}" for one in outside
            ]
        case Elsewhere():
            return [
                f"sent to {next_hop(config, mailbox)}",
                "only for those who log in or come from smtp.trusted_networks; strangers are refused",
            ]
        case UnknownMailbox():
            return ["refused: no such mailbox"]
        case DisabledMailbox():
            return ["refused: the mailbox is disabled"]
        case DanglingAlias():
            return ["refused: the alias reaches nobody"]
        case CyclicAlias():
            return ["refused: the alias leads only back to itself"]
        case _:
            assert_never(found)


def _goes_by_mx(config: Config, mailbox: Mailbox) -> bool:
    """Whether the domain's own hosts are asked first."""
    is_fixed = mailbox.domain in config.relay.routes
    is_smart = config.relay.smarthost is not None and _is_for_smarthost(config, mailbox)
    return not is_fixed and not (is_smart and not config.relay.smarthost_after)


def _protection(config: Config, mailbox: Mailbox) -> list[str]:
    return route_protection.lines(config, mailbox.domain) if _goes_by_mx(config, mailbox) else []


def _protection_object(config: Config, mailbox: Mailbox) -> dict[str, object]:
    goes = _goes_by_mx(config, mailbox)
    return route_protection.as_object(config, mailbox.domain) if goes else {"protection": None}


def _outside(mailbox: Mailbox, found: Route) -> tuple[Mailbox, ...]:
    """Who of those that it leads to is elsewhere."""
    if isinstance(found, Elsewhere):
        return (mailbox,)
    return found.outside if isinstance(found, Here) else ()


def next_hop(config: Config, mailbox: Mailbox) -> str:
    """How mail for somebody else's domain leaves, in plain words."""
    fixed = config.relay.routes.get(mailbox.domain)
    if fixed is not None:
        return f"{fixed}, the fixed route of relay.routes"
    if config.relay.smarthost is not None and _is_for_smarthost(config, mailbox):
        after = config.relay.smarthost_after
        if not after:
            return _smarthost(config)
        failed = "the first attempt without success" if after == 1 else f"{after} attempts without success"
        return f"{_direct(config, mailbox)}; after {failed} (relay.smarthost_after) {_smarthost(config)}"
    if config.relay.smarthost is not None:
        return f"{_direct(config, mailbox)}; the smarthost is not for this domain (relay.smarthost_domains)"
    return _direct(config, mailbox)


def _is_for_smarthost(config: Config, mailbox: Mailbox) -> bool:
    return not config.relay.smarthost_domains or mailbox.domain in config.relay.smarthost_domains


def _smarthost(config: Config) -> str:
    security = {
        SmarthostTls.STARTTLS: "with STARTTLS",
        SmarthostTls.TLS: "with TLS",
        SmarthostTls.NONE: "without TLS",
    }[config.relay.smarthost_tls]
    login = f", logged in as {config.relay.smarthost_username}" if config.relay.smarthost_username else ""
    return f"the smarthost {config.relay.smarthost}, {security}{login}"


def _direct(config: Config, mailbox: Mailbox) -> str:
    if mailbox.domain.startswith("["):
        return f"the address {mailbox.domain} itself"
    port = "" if config.relay.port == 25 else f", port {config.relay.port}"
    return f"the mail servers that DNS names for {mailbox.domain} (MX){port}"


def _as_object(config: Config, mailbox: Mailbox, found: Route) -> dict[str, object]:
    verdicts = {
        Here: "here",
        Elsewhere: "elsewhere",
        UnknownMailbox: "unknown",
        DisabledMailbox: "disabled",
        DanglingAlias: "dangling-alias",
        CyclicAlias: "cyclic-alias",
    }
    here = found if isinstance(found, Here) else Here((), (), ())
    return {
        "address": str(mailbox),
        "verdict": verdicts[type(found)],
        "mailboxes": [
            {"address": str(one), "maildir": str(maildir_path(config.storage.maildirs, one))} for one in here.mailboxes
        ],
        "outside": [
            {
                "address": str(one),
                "next_hop": next_hop(config, one),
                **as_object(remembered(config, one)),
                **_protection_object(config, one),
            }
            for one in _outside(mailbox, found)
        ],
        "steps": list(found.steps),
    }
