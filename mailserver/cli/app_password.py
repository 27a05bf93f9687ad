"""`mailserver account app-password` and `require-app-passwords`: one password for each device."""

import time
from datetime import UTC, datetime
from typing import NoReturn

import click

from mailserver.cli.context import CliContext, mailbox_argument
from mailserver.cli.directory import change_accounts, load_accounts, refuse_unknown
from mailserver.mail.address import Mailbox
from mailserver.ports import Use
from mailserver.store.account_credentials import AccountCredentials
from mailserver.store.accounts import AccountsFile
from mailserver.store.accounts_edit import EntryExists, NoSuchEntry
from mailserver.store.app_passwords import DEVICE_RULE, MAX_DEVICES, Device, hash_app_password, is_device
from mailserver.store.files import Files
from mailserver.store.last_use import Key, LastUse, LastUseFile
from mailserver.store.passwords import generate_password
from mailserver.store.scram_keys import make_keys
from mailserver.store.spool_json import Damaged, NewerFormat

_address = click.argument("address")
_device = click.argument("device")
_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


@click.group("app-password")
def app_password() -> None:
    """A password of its own for each device.

    Whoever loses a telephone revokes its password and keeps all others. The device logs in as the account's address, or
    as address with the device's name behind a plus: alice+phone@example.org. The password is made here, shown once, and
    typed as it is shown, hyphens included.
    """


@app_password.command()
@_address
@_device
@click.option(
    "--only",
    type=click.Choice([use.value for use in Use]),
    help="What it is for: only sending (submission) or only fetching (pop3).",
)
@_json
@click.pass_obj
def add(context: CliContext, address: str, device: str, only: str | None, as_json: bool) -> None:
    """Make an app password, and print it once."""
    mailbox, name = mailbox_argument(address), _device_name(device)
    _, credentials = _known(context, mailbox)
    if credentials.device(name) is not None:
        _refuse_twice(context, mailbox, name)
    if len(credentials.devices) >= MAX_DEVICES:
        context.refuse(f"{mailbox} has {MAX_DEVICES} app passwords; revoke one that is not used any more")
    password = generate_password()
    made = Device(name, hash_app_password(password), None, None if only is None else Use(only), time.time())
    with change_accounts(context) as document:
        try:
            keys = make_keys(password, document.salt(mailbox)) if context.config.auth.scram else None
            document.add_device(mailbox, Device(name, made.hash, keys, made.only, made.created))
        except EntryExists:
            _refuse_twice(context, mailbox, name)
        except NoSuchEntry:
            refuse_unknown(context, load_accounts(context), mailbox)
    login = _login(mailbox, name)
    if as_json:
        context.say_json({"address": str(mailbox), "device": name, "login": login, "only": only, "password": password})
        return
    purpose = {None: "", "submission": ", for sending only", "pop3": ", for fetching only"}[only]
    context.say(f"{mailbox} has an app password for {name}{purpose}; log in as {mailbox} or {login}")
    context.say(f"password: {password}")


@app_password.command("list")
@_address
@_json
@click.pass_obj
def list_(context: CliContext, address: str, as_json: bool) -> None:
    """Show the devices of an account, and when each was used last (to a minute)."""
    mailbox = mailbox_argument(address)
    _, credentials = _known(context, mailbox)
    uses = _last_uses(context)
    found = [(one, uses.get((mailbox.folded, one.name))) for one in credentials.devices]
    if as_json:
        context.say_json([_as_json(mailbox, device, use) for device, use in found])
        return
    context.say_table(
        ("device", "for", "created", "last used"),
        (
            (
                device.name,
                "everything" if device.only is None else device.only.value,
                _time(device.created)[:10] if device.created else "",
                "never" if use is None else f"{_time(use.at)}, {use.use} from {use.address}",
            )
            for device, use in found
        ),
    )


@app_password.command()
@_address
@_device
@click.pass_obj
def revoke(context: CliContext, address: str, device: str) -> None:
    """End an app password, within a second; sessions that were opened with it end at their next command."""
    mailbox, name = mailbox_argument(address), _device_name(device)
    _, credentials = _known(context, mailbox)
    with change_accounts(context) as document:
        try:
            document.remove_device(mailbox, name)
        except NoSuchEntry:
            there = ", ".join(one.name for one in credentials.devices)
            context.refuse(f"{mailbox} has no app password for {name}" + (f"; it has {there}" if there else ""))
    context.say(f"the app password of {mailbox} for {name} is revoked")
    if credentials.requires_app_passwords and len(credentials.devices) == 1:
        _warn_of_none(context, mailbox)


@click.command("require-app-passwords")
@_address
@click.option("--off", is_flag=True, help="Let the account's own password log in again.")
@click.pass_obj
def require_app_passwords(context: CliContext, address: str, off: bool) -> None:
    """Switch an account's own password off: mail programs log in with app passwords only.

    The password stays stored for --off; sessions that were opened with it end at their next command.
    """
    mailbox = mailbox_argument(address)
    _, credentials = _known(context, mailbox)
    with change_accounts(context) as document:
        has_changed = document.set_requires_app_passwords(mailbox, not off)
    state = "logs in with its own password too" if off else "logs in with app passwords only"
    context.say(f"{mailbox} {state}" + ("" if has_changed else ", as before"))
    if not off and not credentials.devices:
        _warn_of_none(context, mailbox)


def _known(context: CliContext, mailbox: Mailbox) -> tuple[AccountsFile, AccountCredentials]:
    """The account's credentials. Raises `Refusal` when there is no such account."""
    accounts = load_accounts(context)
    if accounts.account(mailbox) is None:
        refuse_unknown(context, accounts, mailbox)
    return accounts, accounts.tables.credentials.get(mailbox.folded, AccountCredentials())


def _device_name(text: str) -> str:
    name = text.lower()
    if not is_device(name):
        raise click.UsageError(DEVICE_RULE)
    return name


def _login(mailbox: Mailbox, device: str) -> str:
    return str(Mailbox(f"{mailbox.local_part}+{device}", mailbox.domain))


def _refuse_twice(context: CliContext, mailbox: Mailbox, name: str) -> NoReturn:
    context.refuse(
        f"{mailbox} has an app password for {name} already; "
        f"`mailserver account app-password revoke {mailbox} {name}` ends it"
    )


def _warn_of_none(context: CliContext, mailbox: Mailbox) -> None:
    context.warn(
        f"{mailbox} has no app password now, so it cannot log in; "
        f"`mailserver account app-password add {mailbox} DEVICE` makes one"
    )


def _last_uses(context: CliContext) -> dict[Key, LastUse]:
    """What the server has noted; a file that cannot be read is told, and is no reason to show nothing."""
    file = LastUseFile(context.config.storage.state, Files())
    try:
        return file.read()
    except (Damaged, NewerFormat, OSError) as trouble:
        context.warn(f"{file.path}: {trouble}; last uses are not shown")
        return {}


def _as_json(mailbox: Mailbox, device: Device, use: LastUse | None) -> dict[str, object]:
    return {
        "device": device.name,
        "login": _login(mailbox, device.name),
        "only": None if device.only is None else device.only.value,
        "created": _time(device.created) if device.created else None,
        "last_used": None if use is None else {"at": _time(use.at), "from": use.address, "for": use.use},
    }


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
