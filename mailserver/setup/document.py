"""The configuration as text: a new one with comments, or the owner's with nothing changed but what setup decides.

Pure. `tomlkit` keeps comments, order and blank lines of a text that is there.
"""

import json
from collections.abc import Mapping
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Array, Table

from mailserver.setup.decide import written
from mailserver.setup.keys import BY_NAME, Key, tables
from mailserver.setup.values import Existing, Setting, Settings

RECORD_VERSION = 1
_HEAD = """\
# The configuration of mailserver, written by `mailserver setup`. Change what you like: setup keeps what you changed,
# and shows what it would do before it does anything. Keys that are not here have their defaults; the sample that comes
# with the program, etc/mailserver.toml, has them all. `mailserver check-config` tells what is wrong.
"""


class Unreadable(Exception):
    """A file that is there is not what it should be; the text is for the owner."""


def read(text: str, record: str) -> Existing:
    """What stands in a configuration and in setup's own note about it; either may be empty. Raises `Unreadable`."""
    try:
        table = tomlkit.parse(text).unwrap()
    except TOMLKitError as error:
        raise Unreadable(f"this is no TOML: {error}") from None
    return Existing(_flat(table), _decided(record))


def new_text(settings: Settings) -> str:
    """A whole new file. The same settings give the same text."""
    lines = [_HEAD.rstrip("\n")]
    for table, keys in tables():
        shown = [key for key in keys if key.name in settings and _is_written(key, settings[key.name])]
        if not shown:
            continue
        lines += ["", f"[{table}]"] if table else [""]
        for key in shown:
            lines += [f"# {key.comment}"] if key.comment else []
            lines.append(f"{key.last} = {written(settings[key.name])}")
    return "\n".join(lines) + "\n"


def edited_text(text: str, existing: Existing, settings: Settings) -> str:
    """The owner's text with these settings; unchanged where they say what it says already."""
    document = tomlkit.parse(text)
    for name, value in settings.items():
        key = BY_NAME[name]
        if name in existing.settings:
            if existing.settings[name] != value:
                _set(document, key, value)
        elif value != key.default and existing.decided.get(name) != value:
            # What setup wrote before and is not there now, the owner took out.
            _set(document, key, value)
    return tomlkit.dumps(document)


def record_text(decided: Settings, files: Mapping[str, str]) -> str:
    """What setup notes beside the configuration, so that it can tell its own values from the owner's next time."""
    note = "what `mailserver setup` decided; it compares the configuration with this, and nothing else reads it"
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in decided.items()}
    return (
        json.dumps(
            {"version": RECORD_VERSION, "note": note, "decided": plain, "files": dict(files)},
            indent=1,
            ensure_ascii=False,
        )
        + "\n"
    )


def recorded_files(record: str) -> dict[str, str]:
    """SHA-256 of each file as setup wrote it, by path."""
    files = json.loads(record).get("files") if record else {}
    return {str(path): str(digest) for path, digest in files.items()} if isinstance(files, dict) else {}


def _is_written(key: Key, value: Setting) -> bool:
    return key.is_shown or value != key.default


def _set(document: tomlkit.TOMLDocument, key: Key, value: Setting) -> None:
    where: Any = document
    if key.table:
        if key.table not in document:
            table = tomlkit.table()
            document.add(tomlkit.nl())
            document.add(key.table, table)
        where = document[key.table]
    item = tomlkit.array(written(value)) if isinstance(value, tuple) else tomlkit.item(value)
    if key.last in where:
        if not _has_more(where[key.last], value):
            where[key.last] = item
    elif key.table:
        _append(where, key, item)
    else:
        # Behind the last of the plain keys: what follows a table's head would be the table's.
        where.add(key.last, item)


def _has_more(there: object, value: Setting) -> bool:
    """Whether it is a list that only had to be made longer; so the comments in it stay."""
    if not isinstance(there, Array) or not isinstance(value, tuple):
        return False
    before = there.unwrap()
    if list(value[: len(before)]) != before:
        return False
    for one in value[len(before) :]:
        there.append(one)
    return True


def _append(table: Any, key: Key, item: Any) -> None:
    """At the end of a table's own lines, with the comment. Remarks before the next table's head stay with that."""
    if not isinstance(table, Table):
        table[key.last] = item
        return
    body = table.value.body
    if any(isinstance(one, Table | AoT) for _, one in body):
        # Keys go before tables within a table; a comment would stand behind them.
        table.add(key.last, item)
        return
    own = max((index for index, (name, _) in enumerate(body) if name is not None), default=len(body) - 1) + 1
    tail, body[own:] = body[own:], []
    if key.comment:
        table.add(tomlkit.comment(key.comment))
    table.add(key.last, item)
    body.extend(tail)


def _flat(table: Mapping[str, object], before: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in table.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = _frozen(value)
    return found


def _frozen(value: object) -> object:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _decided(record: str) -> dict[str, object]:
    if not record:
        return {}
    try:
        about = json.loads(record)
    except (json.JSONDecodeError, RecursionError) as error:
        raise Unreadable(
            f"this is no JSON: {error}; without this file setup takes all that is there for yours"
        ) from None
    if (
        not isinstance(about, dict)
        or about.get("version") != RECORD_VERSION
        or not isinstance(about.get("decided"), dict)
    ):
        raise Unreadable("this was written by another version of mailserver; without it setup takes all for yours")
    return {name: _frozen(value) for name, value in about["decided"].items()}
