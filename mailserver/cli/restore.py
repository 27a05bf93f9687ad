"""`mailserver restore`: what a backup holds, whether it is sound, and bringing back all of it or a part."""

import os
from pathlib import Path

import click

from mailserver.cli.context import CliContext, mailbox_argument
from mailserver.cli.directory import load_accounts
from mailserver.cli.queue_text import moment
from mailserver.mail.reply import printable
from mailserver.store.backup_format import (
    MAILDIRS,
    QUEUE,
    BackupTrouble,
    Manifest,
    backups_in,
    is_letter,
    read_manifest,
)
from mailserver.store.paths import maildir_path
from mailserver.store.restore import (
    Places,
    Restored,
    damage_of,
    letters_named,
    occupied,
    restore_all,
    restore_mailbox,
)
from mailserver.store.state_lock import StateLock, StateLocked

# So many lines of damage are enough to see what kind it is.
_SHOWN_DAMAGE = 20


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--list", "does_list", is_flag=True, help="Show the backups in DIR.")
@click.option("--verify", is_flag=True, help="Read all of a backup and compare checksums.")
@click.option("--all", "brings_all", is_flag=True, help="Bring back everything; the server must be stopped.")
@click.option("--account", metavar="ADDRESS", help="Bring back the letters of one account that are not there.")
@click.option("--message", metavar="NAME", help="Bring back letters with this file name, unique name or Message-ID.")
@click.option("--force", is_flag=True, help="With --all: also into folders that are not empty.")
@click.option("--json", "as_json", is_flag=True, help="Print an object, or a list with --list.")
@click.pass_obj
def restore(
    context: CliContext,
    folder: Path,
    does_list: bool,
    verify: bool,
    brings_all: bool,
    account: str | None,
    message: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Bring back mail from a backup in DIR.

    DIR is the folder given to `mailserver backup`, which stands for the newest backup in it, or one of the folders
    there. Letters that are in their mailbox are not doubled. With --message alone, older backups are searched too.

    \b
      mailserver restore DIR --list
      mailserver restore DIR --verify
      mailserver restore DIR --account alice@example.org
      mailserver restore DIR --message '<1234@example.net>' --account alice@example.org
      mailserver restore DIR --all
    """
    if does_list + verify + brings_all + bool(account or message) != 1:
        raise click.UsageError("say one of --list, --verify, --all, --account ADDRESS, --message NAME")
    if force and not brings_all:
        raise click.UsageError("--force goes with --all only")
    place = Path(os.path.abspath(folder))  # noqa: PTH100 - not resolve(): the name given is the name shown
    try:
        if does_list:
            _list(context, place, as_json=as_json)
        elif verify:
            _verify(context, place, as_json=as_json)
        elif brings_all:
            _restore_all(context, place, force=force, as_json=as_json)
        else:
            _restore_letters(context, place, account or "", message or "", as_json=as_json)
    except BackupTrouble as trouble:
        context.refuse(str(trouble))


def _newest(context: CliContext, folder: Path) -> tuple[Path, Manifest]:
    found = backups_in(folder)
    if not found:
        context.refuse(f"{folder} holds no backup")
    return found[-1], read_manifest(found[-1])


def _list(context: CliContext, folder: Path, *, as_json: bool) -> None:
    rows: list[dict[str, object]] = []
    for path in backups_in(folder):
        try:
            manifest = read_manifest(path)
        except BackupTrouble as trouble:
            context.warn(str(trouble))
            continue
        rows.append(
            {
                "name": path.name,
                "began": manifest.began,
                "hostname": manifest.hostname,
                "letters": sum(1 for one in manifest.entries if is_letter(one.path)),
                "queued": sum(1 for _ in manifest.below(f"{QUEUE}/messages")),
                "octets": sum(one.size for one in manifest.entries),
            }
        )
    if as_json:
        context.say_json(rows)
        return
    headings = ("backup", "made", "host", "letters", "queued", "MB")
    context.say_table(
        headings,
        [
            (
                str(row["name"]),
                moment(float(str(row["began"]))),
                str(row["hostname"]),
                str(row["letters"]),
                str(row["queued"]),
                f"{int(str(row['octets'])) / 1e6:.1f}",
            )
            for row in rows
        ],
    )


def _verify(context: CliContext, folder: Path, *, as_json: bool) -> None:
    path, manifest = _newest(context, folder)
    damage = list(damage_of(path, manifest))
    if as_json:
        context.say_json({"folder": str(path), "files": len(manifest.entries), "damage": damage})
    else:
        for line in damage[:_SHOWN_DAMAGE]:
            context.say(printable(line))
        context.say(f"{path}: {len(manifest.entries)} files, {len(damage) or 'none'} damaged")
    if damage:
        context.refuse(f"{path} is damaged" if as_json else f"{path} is damaged: take another one")


def _places(context: CliContext) -> Places:
    config = context.config
    return Places(config.storage.maildirs, config.storage.state, config.accounts.file)


def _restore_all(context: CliContext, folder: Path, *, force: bool, as_json: bool) -> None:
    path, manifest = _newest(context, folder)
    context.become_owner()
    places = _places(context)
    try:
        lock = StateLock(places.state, "restore")
    except StateLocked as locked:
        context.refuse(f"{locked}: stop the server first")
    except OSError as error:
        context.refuse(f"{places.state} cannot be written: {(error.strerror or str(error)).lower()}")
    with lock:
        if (full := list(occupied(places))) and not force:
            context.refuse(
                f"{', '.join(str(one) for one in full)}: not empty. --force adds what is missing there, and replaces "
                "the accounts and the files of the state folder by those of the backup; no letter is removed"
            )
        if damage := list(damage_of(path, manifest)):
            for line in damage[:_SHOWN_DAMAGE]:
                context.warn(printable(line))
            context.refuse(f"{path} is damaged, and nothing was brought back: take another one")
        done = restore_all(path, manifest, places)
    _say(context, path, done, as_json=as_json)
    if not as_json:
        context.say(f"the configuration is in {path / 'configuration'}: compare it with {context.config.path}")


def _restore_letters(context: CliContext, folder: Path, account: str, message: str, *, as_json: bool) -> None:
    mailbox = mailbox_argument(account) if account else None
    backups = backups_in(folder)
    if not backups:
        context.refuse(f"{folder} holds no backup")
    context.become_owner()
    root = _places(context).maildirs
    name = "" if mailbox is None else str(maildir_path(root, mailbox).relative_to(root))
    if not message:
        path = backups[-1]
        manifest = read_manifest(path)
        if not any(manifest.below(f"{MAILDIRS}/{name}")):
            context.refuse(f"{path} has no letters of {mailbox}")
        if mailbox is not None and load_accounts(context).tables.account(mailbox) is None:
            context.warn(f"{mailbox} is no account now, so nobody can fetch these: `mailserver account add {mailbox}`")
        _say(context, path, restore_mailbox(path, manifest, name, root), as_json=as_json)
        return
    for path in reversed(backups):
        try:
            manifest = read_manifest(path)
        except BackupTrouble as trouble:
            context.warn(str(trouble))
            continue
        found = letters_named(manifest, path, message, name)
        if found:
            break
    else:
        context.refuse(f"no backup in {folder} has a letter {printable(message)}" + (f" of {mailbox}" if name else ""))
    done = Restored()
    only = frozenset(entry.path for entry in found)
    for one in sorted({"/".join(entry.path.split("/")[1:3]) for entry in found}):
        part = restore_mailbox(path, manifest, one, root, only=only)
        done.letters += part.letters
        done.there += part.there
    _say(context, path, done, as_json=as_json)


def _say(context: CliContext, path: Path, done: Restored, *, as_json: bool) -> None:
    if as_json:
        context.say_json(
            {
                "folder": str(path),
                "letters": done.letters,
                "queued": done.queued,
                "others": done.others,
                "there": done.there,
            }
        )
        return
    parts = [f"{done.letters} letters"]
    if done.queued:
        parts.append(f"{done.queued} messages of the queue")
    if done.others:
        parts.append(f"{done.others} other files")
    context.say(f"from {path}: {', '.join(parts)} brought back; {done.there} were there")
