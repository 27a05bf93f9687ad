"""`mailserver backup`: everything the server keeps, copied into a folder while it runs or not."""

import os
import time
from importlib.metadata import version
from pathlib import Path

import click

from mailserver.cli.context import CliContext
from mailserver.config import Config
from mailserver.mail.reply import printable
from mailserver.store.backup import Made, Wanted, make_backup
from mailserver.store.backup_format import BackupTrouble
from mailserver.store.last_backup import note_backup


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--keep", metavar="N", type=click.IntRange(min=1), help="Remove all but the newest N backups in DIR.")
@click.option(
    "--link",
    is_flag=True,
    help="Link letters instead of copying them, where DIR is on their disk: quick and small, but no help when it dies.",
)
@click.option("--no-journal", is_flag=True, help="Leave the history behind `mailserver why` out.")
@click.option("--json", "as_json", is_flag=True, help="Print an object.")
@click.pass_obj
def backup(context: CliContext, folder: Path, keep: int | None, link: bool, no_journal: bool, as_json: bool) -> None:
    """Copy everything the server keeps into DIR.

    Mail, queue, accounts, keys and configuration come into a folder of DIR named by the time. The server may run. A
    letter that the backup before has already is linked to it and takes no room of its own. Bring things back with
    `mailserver restore DIR`.
    """
    config = context.config
    # Before root becomes the owner of the state folder, who may not read it.
    configuration = _configuration(context, config.path)
    wanted = _wanted(config, configuration, with_journal=not no_journal, links_live=link)
    context.become_owner()
    try:
        made = make_backup(wanted, Path(os.path.abspath(folder)), time.time(), keep=keep or 0)  # noqa: PTH100
    except BackupTrouble as trouble:
        context.refuse(f"there is no backup: {trouble}")
    try:
        # For `mailserver doctor`, which tells when it is old.
        note_backup(config.storage.state, made.folder, time.time())
    except OSError as error:
        context.warn(f"when this was done is not remembered: {(error.strerror or str(error)).lower()}")
    for remark in made.remarks:
        context.warn(printable(remark))
    _warn_of_drop(context, config.sendmail.drop)
    if as_json:
        context.say_json(_as_object(made))
    else:
        _say(context, made)


def _configuration(context: CliContext, path: Path) -> tuple[Path, bytes]:
    try:
        return path, path.read_bytes()
    except OSError as error:
        context.refuse(f"{path} cannot be read: {(error.strerror or str(error)).lower()}")


def _wanted(config: Config, configuration: tuple[Path, bytes], *, with_journal: bool, links_live: bool) -> Wanted:
    named = (
        ("tls.certificate", config.tls.certificate),
        ("tls.private_key", config.tls.private_key),
        ("relay.smarthost_password_file", config.relay.smarthost_password_file),
        ("relay.smarthost_ca_file", config.relay.smarthost_ca_file),
        ("relay.ca_file", config.relay.ca_file),
        ("acme.eab_key_file", config.acme.eab_key_file),
        ("acme.dns_hook", config.acme.dns_hook),
    )
    return Wanted(
        hostname=config.hostname,
        release=version("mailserver"),
        maildirs=config.storage.maildirs,
        state=config.storage.state,
        accounts=config.accounts.file,
        configuration=configuration,
        named=[(key, path) for key, path in named if path is not None],
        leaves_out=(config.sendmail.drop,),
        with_journal=with_journal,
        links_live=links_live,
    )


def _warn_of_drop(context: CliContext, drop: Path) -> None:
    """Mail left with the sendmail command belongs to who left it, so no copy of it could be taken for theirs."""
    try:
        waiting = sum(1 for one in drop.iterdir() if one.is_file())
    except OSError:
        return
    if waiting:
        context.warn(
            f"{waiting} messages in {drop} are not in the backup: the server takes them over when it runs; back up "
            "again then"
        )


def _say(context: CliContext, made: Made) -> None:
    context.say(
        f"{made.folder}: {made.letters} letters, {made.queued} messages in the queue; {made.copied} files copied, "
        f"{made.linked} linked, {made.octets / 1e6:.1f} MB in all"
    )
    if made.removed:
        context.say(f"removed: {', '.join(made.removed)}")


def _as_object(made: Made) -> dict[str, object]:
    return {
        "folder": str(made.folder),
        "letters": made.letters,
        "queued": made.queued,
        "copied": made.copied,
        "linked": made.linked,
        "octets": made.octets,
        "remarks": list(made.remarks),
        "removed": list(made.removed),
    }
