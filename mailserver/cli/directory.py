"""What the commands about accounts, aliases and routes have in common."""

import contextlib
from collections.abc import Iterator
from typing import NoReturn

from mailserver.cli.context import CliContext, Refusal
from mailserver.cli.ownership import reading_hint
from mailserver.config.fault import nearest, shown
from mailserver.mail.address import Mailbox
from mailserver.store.accounts import AccountsError, AccountsFile
from mailserver.store.accounts_edit import AccountsDocument, editing


def load_accounts(context: CliContext) -> AccountsFile:
    """The accounts as the server would see them. Raises `Refusal`."""
    config = context.config
    accounts = AccountsFile(config.accounts.file, config.domains, config.postmaster)
    try:
        accounts.load()
    except AccountsError as error:
        raise Refusal(f"{error}{reading_hint(config, config.accounts.file)}") from None
    return accounts


def remarks(context: CliContext, accounts: AccountsFile) -> list[str]:
    """What is worth a warning in the accounts file, whole lines.

    A postmaster who is made at the first start, for practice, is not missing.
    """
    config = context.config
    is_made = config.postmaster in config.practice.accounts
    return [remark for remark in accounts.tables.remarks() if not (is_made and remark.startswith("postmaster:"))]


@contextlib.contextmanager
def change_accounts(context: CliContext) -> Iterator[AccountsDocument]:
    """The accounts file under its lock, as the user who owns it; written at the end. Raises `Refusal`."""
    context.become_owner()
    try:
        with editing(context.config.accounts.file) as document:
            yield document
    except AccountsError as error:
        raise Refusal(str(error)) from None


def refuse_unknown(context: CliContext, accounts: AccountsFile, mailbox: Mailbox) -> NoReturn:
    """Raises `Refusal` for an address that is no account."""
    hint = ""
    if accounts.alias(mailbox) is not None:
        hint = f"; it is an alias, see `mailserver route {mailbox}`"
    context.refuse(f"there is no account {mailbox}{hint}")


def require_local(context: CliContext, mailbox: Mailbox) -> None:
    """Raises `Refusal` for an address in somebody else's domain."""
    domains = context.config.domains
    if mailbox.domain in domains:
        return
    close = nearest(mailbox.domain, domains)
    at = f"{mailbox.local_part}@" if mailbox.local_part else "@"
    hint = f" (did you mean {at}{close}?)" if close else ""
    raise Refusal(
        f"{mailbox.domain} is not a domain of this server{hint}; {context.config_path} has "
        f"domains = {shown(list(domains))}"
    )
