"""`mailserver alias`: add, list, remove."""

import click

from mailserver.cli.context import CliContext, mailbox_argument
from mailserver.cli.directory import change_accounts, load_accounts, remarks, require_local
from mailserver.mail.address import Mailbox, canonical_domain
from mailserver.policy.routing import CyclicAlias, DanglingAlias, DisabledMailbox, UnknownMailbox, find_route
from mailserver.store.accounts import AccountsFile
from mailserver.store.accounts_edit import NoSuchEntry


@click.group()
def alias() -> None:
    """Further addresses for people, groups and domains.

    ADDRESS is the whole address, or @example.org for everything in that domain that nobody else takes. TARGETs may be
    accounts, other aliases, and addresses elsewhere.
    """


@alias.command()
@click.argument("address")
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@click.pass_obj
def add(context: CliContext, address: str, targets: tuple[str, ...]) -> None:
    """Make an alias, or add targets to one."""
    name = _alias_argument(address)
    wanted = [mailbox_argument(target) for target in targets]
    accounts = load_accounts(context)
    require_local(context, name)
    if name.local_part and accounts.account(name) is not None:
        context.refuse(f"{name} is an account and takes its mail itself; an alias with this address has no effect")
    with change_accounts(context) as document:
        new = document.add_targets(_shown(name), wanted)
    if new:
        context.say(f"{_shown(name)} leads to {', '.join(map(str, new))}")
    else:
        context.say(f"{_shown(name)} led there already")
    _warn(context, load_accounts(context), name, wanted)


@alias.command()
@click.argument("address")
@click.argument("targets", metavar="[TARGET...]", nargs=-1)
@click.pass_obj
def remove(context: CliContext, address: str, targets: tuple[str, ...]) -> None:
    """Remove an alias, or only some of its targets."""
    name = _alias_argument(address)
    gone = [mailbox_argument(target) for target in targets]
    with change_accounts(context) as document:
        try:
            remaining = document.remove_targets(_shown(name), gone)
        except NoSuchEntry as error:
            missing = error.args[0]
            if missing == _shown(name):
                context.refuse(f"there is no alias {missing}")
            context.refuse(f"{_shown(name)} does not lead to {missing}; nothing was changed")
    if remaining:
        context.say(f"{_shown(name)} leads to {', '.join(remaining)}")
    else:
        context.say(f"{_shown(name)} is removed")


@alias.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
@click.pass_obj
def list_(context: CliContext, as_json: bool) -> None:
    """Show all aliases and where they lead."""
    accounts = load_accounts(context)
    for remark in remarks(context, accounts):
        context.warn(remark)
    found = sorted(accounts.tables.aliases.items())
    if as_json:
        context.say_json([{"address": key, "targets": list(map(str, targets))} for key, targets in found])
        return
    context.say_table(("alias", "leads to"), ((key, ", ".join(map(str, targets))) for key, targets in found))


def _alias_argument(text: str) -> Mailbox:
    """`sales@example.org`, or `@example.org` as a mailbox without local-part."""
    if text.startswith("@"):
        domain = canonical_domain(text[1:])
        if domain is None:
            raise click.UsageError(f"{text}: a catch-all has the form @example.org")
        return Mailbox("", domain)
    return mailbox_argument(text)


def _shown(name: Mailbox) -> str:
    return str(name) if name.local_part else f"@{name.domain}"


def _warn(context: CliContext, accounts: AccountsFile, name: Mailbox, targets: list[Mailbox]) -> None:
    """What is wrong with it now; it may be meant for later, so nothing is refused."""
    if name.local_part and isinstance(find_route(name, accounts), CyclicAlias):
        context.warn(f"{name} leads only back to itself; mail for it is refused")
        return
    for target in targets:
        route = find_route(target, accounts)
        if isinstance(route, UnknownMailbox):
            context.warn(f"{target} does not exist; no mail gets there")
        elif isinstance(route, DisabledMailbox):
            context.warn(f"{target} is disabled; no mail gets there")
        elif isinstance(route, DanglingAlias | CyclicAlias):
            context.warn(f"the alias {target} reaches nobody; no mail gets there")
