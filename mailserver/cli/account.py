"""`mailserver account`: add, list, passwd, disable, enable, remove; app passwords are in `app_password`."""

import click

from mailserver.cli.app_password import app_password, require_app_passwords
from mailserver.cli.context import CliContext, mailbox_argument
from mailserver.cli.directory import change_accounts, load_accounts, refuse_unknown, remarks, require_local
from mailserver.mail.address import Mailbox
from mailserver.store.account_credentials import AccountCredentials
from mailserver.store.accounts_edit import EntryExists, NoSuchEntry
from mailserver.store.passwords import MAX_PASSWORD_OCTETS, Passwords, generate_password, weakness
from mailserver.store.paths import maildir_path
from mailserver.store.scram_keys import scram_line

_password_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from the first line of standard input."
)
_address = click.argument("address")


@click.group()
def account() -> None:
    """People with a mailbox here, and their passwords.

    ADDRESS is the whole address, such as alice@example.org; it is also the login name. The server sees a change within
    a second. Passwords are stored as argon2id hashes in the accounts file, with keys for SCRAM beside them.
    """


account.add_command(app_password)
account.add_command(require_app_passwords)


@account.command()
@_address
@_password_stdin
@click.pass_obj
def add(context: CliContext, address: str, password_stdin: bool) -> None:
    """Make an account.

    On a terminal its password is asked for; leave it empty to have one made. In a script one is made and printed,
    unless --password-stdin is given.
    """
    mailbox = mailbox_argument(address)
    accounts = load_accounts(context)
    require_local(context, mailbox)
    if accounts.account(mailbox) is not None:
        context.refuse(f"{mailbox} exists already; `mailserver account passwd {mailbox}` changes its password")
    password, is_generated = _ask_password(context, mailbox, password_stdin)
    hashed = Passwords().hash(password)
    scram = _scram(context, password, hashed)
    with change_accounts(context) as document:
        try:
            document.add_account(mailbox, hashed, scram)
        except EntryExists:
            context.refuse(f"{mailbox} exists already")
    if accounts.alias(mailbox) is not None:
        context.warn(f"the alias {mailbox} has no effect any more, because the account takes its mail")
    context.say(f"{mailbox} is there: it gets mail, and logs in with this address")
    if is_generated:
        context.say(f"password: {password}")


@account.command()
@_address
@_password_stdin
@click.pass_obj
def passwd(context: CliContext, address: str, password_stdin: bool) -> None:
    """Set a new password; the old one ends at once. Works on a disabled account too."""
    mailbox = mailbox_argument(address)
    accounts = load_accounts(context)
    existing = accounts.account(mailbox)
    if existing is None:
        refuse_unknown(context, accounts, mailbox)
    password, is_generated = _ask_password(context, mailbox, password_stdin)
    hashed = Passwords().hash(password)
    with change_accounts(context) as document:
        try:
            salt = document.salt(mailbox)
            document.set_password(mailbox, hashed, _scram(context, password, hashed, salt))
        except NoSuchEntry:
            refuse_unknown(context, accounts, mailbox)
    context.say(f"{mailbox} has a new password" + ("" if existing.is_enabled else ", and is still disabled"))
    if is_generated:
        context.say(f"password: {password}")


@account.command()
@_address
@click.pass_obj
def disable(context: CliContext, address: str) -> None:
    """End logins and new mail; mail and password stay."""
    _set_disabled(context, address, is_disabled=True)


@account.command()
@_address
@click.pass_obj
def enable(context: CliContext, address: str) -> None:
    """Undo `disable`."""
    _set_disabled(context, address, is_disabled=False)


@account.command()
@_address
@click.pass_obj
def remove(context: CliContext, address: str) -> None:
    """Remove an account. Its mail stays where it is, and the folder is named."""
    mailbox = mailbox_argument(address)
    accounts = load_accounts(context)
    with change_accounts(context) as document:
        try:
            document.remove_account(mailbox)
        except NoSuchEntry:
            refuse_unknown(context, accounts, mailbox)
    context.say(f"{mailbox} is removed")
    folder = maildir_path(context.config.storage.maildirs, mailbox)
    if folder.exists():
        context.say(f"its mail is still in {folder}")
    for alias, targets in sorted(accounts.tables.aliases.items()):
        if any(target.folded == mailbox.folded for target in targets):
            context.warn(f"the alias {alias} still names it; `mailserver alias remove {alias} {mailbox}` mends that")


@account.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
@click.pass_obj
def list_(context: CliContext, as_json: bool) -> None:
    """Show all accounts, and which aliases reach them."""
    accounts = load_accounts(context)
    found = sorted(accounts.tables.accounts.items())
    for remark in remarks(context, accounts):
        context.warn(remark)

    def of(key: str) -> AccountCredentials:
        return accounts.tables.credentials.get(key, AccountCredentials())

    if as_json:
        context.say_json(
            [
                {
                    "address": str(one.mailbox),
                    "enabled": one.is_enabled,
                    "has_password": key in accounts.tables.hashes,
                    "app_passwords": [device.name for device in of(key).devices],
                    "requires_app_passwords": of(key).requires_app_passwords,
                    "has_scram_keys": of(key).has_all_keys,
                    "may_send_as": list(one.may_send_as),
                    "aliases": sorted(map(str, accounts.reaches(one))),
                    "maildir": str(maildir_path(context.config.storage.maildirs, one.mailbox)),
                }
                for key, one in found
            ]
        )
        return
    context.say_table(
        ("address", "state", "aliases"),
        (
            (
                str(one.mailbox),
                _state(one.is_enabled, of(key)),
                ", ".join(sorted(map(str, accounts.reaches(one)))),
            )
            for key, one in found
        ),
    )


def _state(is_enabled: bool, credentials: AccountCredentials) -> str:
    if not is_enabled:
        return "disabled"
    if credentials.own_hash:
        return "enabled"
    return "app passwords only" if credentials.devices else "no password"


def _scram(context: CliContext, password: str, hashed: str, salt: bytes | None = None) -> str:
    """The SCRAM keys of a new password, if the server is to have any."""
    return scram_line(password, hashed, salt) if context.config.auth.scram else ""


def _set_disabled(context: CliContext, address: str, *, is_disabled: bool) -> None:
    mailbox = mailbox_argument(address)
    word = "disabled" if is_disabled else "enabled"
    with change_accounts(context) as document:
        try:
            has_changed = document.set_disabled(mailbox, is_disabled)
        except NoSuchEntry:
            refuse_unknown(context, load_accounts(context), mailbox)
    context.say(f"{mailbox} is {word}" if has_changed else f"{mailbox} was {word} already")


def _ask_password(context: CliContext, mailbox: Mailbox, from_stdin: bool) -> tuple[str, bool]:
    """The password, and whether it was made here and so has to be shown."""
    password = context.ask_secret("Password", from_stdin=from_stdin)
    if password == "":
        if from_stdin:
            context.refuse("standard input has no password on its first line")
        return generate_password(), True
    # Lone surrogates are what a terminal of another encoding sends.
    octets = password.encode("utf-8", "replace")
    if len(octets) > MAX_PASSWORD_OCTETS or "\0" in password:
        context.refuse(f"a password has at most {MAX_PASSWORD_OCTETS} octets, and no NUL")
    if octets.decode("utf-8") != password:
        context.refuse("the password is not UTF-8; set the terminal to that encoding, or use other characters")
    weak = weakness(password, mailbox)
    if weak:
        context.warn(f"this password is easily guessed: {weak}")
    return password, False
