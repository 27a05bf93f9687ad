"""`mailserver dkim`: the keys with which mail of our domains is signed.

The server takes up every change within seconds. The records are printed as a zone file has them, remarks behind `;`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from mailserver.cli.context import CliContext
from mailserver.cli.queue_text import moment
from mailserver.mail.address import canonical_domain
from mailserver.mail.dkim_key import DkimKey, KeyState
from mailserver.policy.dkim.keys import ALGORITHMS, new_selectors, remarks, strings, zone_line
from mailserver.store.dkim_keys import DkimKeyFolder

_PUBLISHED = (KeyState.WAITING, KeyState.ACTIVE, KeyState.RETIRING)


@click.group()
def dkim() -> None:
    """Keys that sign outgoing mail, so that others know it is yours.

    \b
    Once for each domain:  mailserver dkim create example.org
    Then once a year:      mailserver dkim rotate example.org
    Each prints records to publish in DNS; the server signs with new keys as soon as it sees them there.
    """


_UNCHECKED = click.option(
    "--unchecked", is_flag=True, help="Sign at once, without waiting until the records are seen in DNS."
)


@dkim.command()
@click.argument("domain")
@_UNCHECKED
@click.pass_obj
def create(context: CliContext, domain: str, unchecked: bool) -> None:
    """Make the first keys of DOMAIN (RSA and Ed25519), and print the records to publish."""
    name = _domain(context, domain)
    context.become_owner()
    folder = _folder(context)
    with _changing(context, folder):
        if any(key.state(time.time()) in (KeyState.WAITING, KeyState.ACTIVE) for key in _keys(context, folder, name)):
            context.refuse(
                f"{name} has keys already: see mailserver dkim show {name}, or mailserver dkim rotate {name}"
            )
        made = make_keys(folder, name, is_unchecked=unchecked)
    _say_made(context, made, unchecked)


@dkim.command()
@click.argument("domain")
@_UNCHECKED
@click.pass_obj
def rotate(context: CliContext, domain: str, unchecked: bool) -> None:
    """Make new keys that take over from those in use, and print their records.

    The old keys sign until the new records are seen in DNS. Their own records stay there until no message that they
    signed is on its way any more; `mailserver dkim list` says when they can be removed.
    """
    name = _domain(context, domain)
    context.become_owner()
    folder = _folder(context)
    with _changing(context, folder):
        now = time.time()
        keys = _keys(context, folder, name)
        active = [key for key in keys if key.state(now) is KeyState.ACTIVE]
        if any(key.state(now) is KeyState.WAITING for key in keys):
            context.refuse(f"new keys of {name} wait already: publish what mailserver dkim show {name} prints")
        if not active:
            context.refuse(f"{name} has no keys in use: mailserver dkim create {name}")
        made = make_keys(folder, name, is_unchecked=unchecked)
        if unchecked:
            folder.save_all([key.retiring(now, context.config.relay.longest_life) for key in active])
    _say_made(context, made, unchecked)


@dkim.command()
@click.argument("domain")
@click.argument("selector")
@click.pass_obj
def retire(context: CliContext, domain: str, selector: str) -> None:
    """Stop signing with one key now; a key whose record is no longer needed is forgotten."""
    name = _domain(context, domain)
    context.become_owner()
    folder = _folder(context)
    with _changing(context, folder):
        now = time.time()
        keys = _keys(context, folder, name)
        key = next((key for key in keys if key.selector == selector), None)
        if key is None:
            context.refuse(f"{name} has no key with the selector {selector}: see mailserver dkim list")
        state = key.state(now)
        if state is KeyState.RETIRING:
            context.refuse(f"{selector} signs no more; its record is needed until {moment(key.published_until)}")
        if state is not KeyState.ACTIVE:
            folder.remove(key)
            context.say(f"{key.name} is forgotten; its record can be removed from DNS")
            return
        retired = key.retiring(now, context.config.relay.longest_life)
        folder.save_all([retired])
        rest = [one for one in keys if one.state(now) is KeyState.ACTIVE and one != key]
    context.say(f"{selector} signs no more; leave its record in DNS until {moment(retired.published_until)}")
    context.say(f"if the key was stolen, publish instead: {zone_line(key.name, 'v=DKIM1; p=')}")
    if not rest:
        context.warn(f"no key signs for {name} now")


@dkim.command()
@click.argument("domain")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
@click.pass_obj
def show(context: CliContext, domain: str, as_json: bool) -> None:
    """Print the records of DOMAIN that have to be in DNS."""
    name, now = _domain(context, domain), time.time()
    keys = [key for key in _keys(context, _folder(context), name) if key.state(now) in _PUBLISHED]
    if as_json:
        context.say_json([_object(key, now) for key in keys])
        return
    if not keys:
        context.refuse(f"{name} has no keys: mailserver dkim create {name}")
    for key in keys:
        context.say(f"; {key.selector}: {key.algorithm}, {_said(key, now)}")
        context.say(zone_line(key.name, key.record))


@dkim.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
@click.pass_obj
def list_(context: CliContext, as_json: bool) -> None:
    """Show all keys, and what is due. Exit status 1 when something is."""
    now = time.time()
    keys = _keys(context, _folder(context), None)
    if as_json:
        context.say_json([_object(key, now) for key in keys])
    else:
        context.say_table(
            ("domain", "selector", "algorithm", "state"),
            ((key.domain, key.selector, key.algorithm, _said(key, now)) for key in keys),
        )
    due = remarks(keys, now)
    for one in due:
        context.warn(f"{one.key.name}: {one.finding}: {one.remedy}")
    if due:
        raise click.exceptions.Exit(1)


# --- parts ------------------------------------------------------------------------------------------------------------


def _folder(context: CliContext) -> DkimKeyFolder:
    return DkimKeyFolder(context.config.storage.state)


def _domain(context: CliContext, text: str) -> str:
    name = canonical_domain(text)
    if name is None:
        raise click.UsageError(f"{text!r} is not a domain")
    if name not in context.config.domains:
        context.refuse(f"{name} is none of the domains of {context.config.path}: {', '.join(context.config.domains)}")
    return name


@contextmanager
def _changing(context: CliContext, folder: DkimKeyFolder) -> Iterator[None]:
    """The folder's lock; trouble with the disk is told in one line."""
    try:
        with folder.changing():
            yield
    except OSError as error:
        context.refuse(f"the keys cannot be changed: {error.strerror} ({error.filename})")


def _keys(context: CliContext, folder: DkimKeyFolder, domain: str | None) -> list[DkimKey]:
    """Those of one domain, or all."""
    try:
        keys, troubles = folder.read()
    except OSError as error:
        context.refuse(f"the keys cannot be read: {error.strerror} ({error.filename})")
    for trouble in troubles:
        context.warn(f"{trouble.path}: {trouble.reason}")
    return [key for key in keys if domain is None or key.domain == domain]


def make_keys(folder: DkimKeyFolder, domain: str, *, is_unchecked: bool = False) -> list[DkimKey]:
    """A key for each algorithm, within `folder.changing()`. Raises `OSError`."""
    now = time.time()
    selectors = new_selectors(folder.names(domain), now)
    made = [folder.make(domain, selectors[algorithm], algorithm, now) for algorithm in ALGORITHMS]
    if is_unchecked:
        made = [key.activated(now) for key in made]
        for key in made:
            folder.save(key)
    return made


def _say_made(context: CliContext, made: list[DkimKey], is_unchecked: bool) -> None:
    context.say(f"; publish these records for {made[0].domain}:")
    for key in made:
        context.say(zone_line(key.name, key.record))
    if is_unchecked:
        context.say("; the server signs with these keys from now on")
    else:
        context.say("; the server begins to sign with these keys when it sees both records in DNS")


def _said(key: DkimKey, now: float) -> str:
    match key.state(now):
        case KeyState.WAITING:
            return f"waiting: made {moment(key.created_at)}, to be published"
        case KeyState.ACTIVE:
            return f"active: signs since {moment(key.activated_at)}"
        case KeyState.RETIRING:
            return f"retiring: leave its record in DNS until {moment(key.published_until)}"
        case KeyState.RETIRED:
            return "retired: its record can be removed from DNS"


def _object(key: DkimKey, now: float) -> dict[str, object]:
    def at(seconds: float) -> float | None:
        return round(seconds, 3) if seconds else None

    return {
        "domain": key.domain,
        "selector": key.selector,
        "algorithm": key.algorithm,
        "state": key.state(now).value,
        "name": key.name,
        "record": key.record,
        "strings": list(strings(key.record)),
        "created_at": at(key.created_at),
        "activated_at": at(key.activated_at),
        "retired_at": at(key.retired_at),
        "published_until": at(key.published_until),
    }
