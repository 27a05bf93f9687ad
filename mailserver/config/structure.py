"""From a TOML table to a `Config`, with every wrong key and value found in one go.

cattrs walks the classes of `schema`; the rule in each annotation reads the value. Two traps of cattrs are avoided by
that: it would turn 3 into "3" and "abc" into a list of letters.
"""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import attrs
from attrs import frozen
from cattrs import AttributeValidationNote, ClassValidationError, Converter, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn, override

from mailserver.config.fault import Wrong, Wrongs, nearest, shown
from mailserver.config.schema import DERIVED, REQUIRED, Config
from mailserver.config.values import Rule

# What stands in for a wrong value, so that the rules between keys can be tried on the rest.
_STAND_INS: dict[str, object] = {
    "hostname": "mail.invalid",
    "domains": ["invalid"],
    "postmaster": "postmaster@invalid",
}


@frozen
class WrongKey:
    """One wrong key: its dotted name, and the whole text `key: value: what is allowed`."""

    key: str
    text: str


def structure(table: dict[str, object], base: Path) -> tuple[Config, list[WrongKey]]:
    """The configuration and all errors in it. Paths are taken from `base`.

    With errors, the configuration is what remains when the wrong keys are left out.
    """
    converter = _converter(base)
    try:
        return converter.structure(table, Config), []
    except ClassValidationError as error:
        errors = _errors(error, Config, table, "")
    return converter.structure(_without(table, errors), Config), errors


def _without(table: dict[str, object], errors: list[WrongKey]) -> dict[str, object]:
    rest = {key: dict(value) if isinstance(value, dict) else value for key, value in table.items()}
    for error in errors:
        outer, _, inner = error.key.partition(".")
        part = rest.get(outer)
        if inner and isinstance(part, dict):
            part.pop(inner, None)
        else:
            rest.pop(outer, None)
    return _STAND_INS | _known(rest)


def _known(table: dict[str, object]) -> dict[str, object]:
    """Without the keys that are none. Their own names cannot be cut at a dot: a key in quotes may hold any."""
    kinds = {field.name: field.type for field in attrs.fields(Config) if field.name not in DERIVED}
    return {
        name: {key: one for key, one in value.items() if key in key_names(kind)}
        if isinstance(value, dict) and (kind := kinds[name]) is not None and attrs.has(kind)
        else value
        for name, value in table.items()
        if name in kinds
    }


def key_names(cls: type) -> list[str]:
    """The keys of a table, in the order of the schema."""
    return [field.name for field in attrs.fields(cls) if not (cls is Config and field.name in DERIVED)]


@lru_cache(maxsize=4)
def _converter(base: Path) -> Converter:
    """cattrs writes and compiles a function for each class, which takes longer than using it."""
    converter = Converter(detailed_validation=True, forbid_extra_keys=True)
    converter.register_structure_hook_factory(_has_rule, lambda annotation: _rule_hook(annotation, base))
    converter.register_structure_hook_factory(attrs.has, lambda cls: _table_hook(cls, converter))
    return converter


def _has_rule(annotation: Any) -> bool:
    return _rule(annotation) is not None


def _rule(annotation: Any) -> Rule | None:
    if get_origin(annotation) is not Annotated:
        return None
    return next((part for part in get_args(annotation)[1:] if isinstance(part, Rule)), None)


def _rule_hook(annotation: Any, base: Path) -> Any:
    rule = _rule(annotation)
    assert rule is not None
    return lambda value, _: rule.read(value, base)


def _table_hook(cls: Any, converter: Converter) -> Any:
    omitted: dict[str, Any] = {name: override(omit=True) for name in DERIVED} if cls is Config else {}
    fill = make_dict_structure_fn(
        cls, converter, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True, **omitted
    )

    def read(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise Wrong(f"must be a table: a line [{cls.__name__.lower()}] with its keys below")
        return fill(value, cls)

    return read


# --- from the exception tree to our own text --------------------------------------------------------------------------


def _errors(error: ClassValidationError, cls: type, table: dict[str, object], prefix: str) -> list[WrongKey]:
    found: list[WrongKey] = []
    for part in error.exceptions:
        if isinstance(part, ForbiddenExtraKeysError):
            found += [
                WrongKey(prefix + key, _unknown_key(cls, table, prefix, key))
                for key in table
                if key in part.extra_fields
            ]
            continue
        note = next(note for note in part.__notes__ if isinstance(note, AttributeValidationNote))
        key = prefix + note.name
        if isinstance(part, ClassValidationError):
            inner = table[note.name]
            assert isinstance(inner, dict)
            found += _errors(part, note.type, inner, key + ".")
        elif isinstance(part, Wrongs):
            found += [WrongKey(key, f"{key}{where}: {shown(value)}: {wrong}") for where, value, wrong in part.parts]
        elif isinstance(part, Wrong):
            found.append(WrongKey(key, f"{key}: {shown(table[note.name])}: {part}"))
        elif isinstance(part, KeyError) and note.name not in table:
            found.append(WrongKey(key, f"{key}: missing: set {REQUIRED[note.name]}"))
        else:
            raise part
    return found


def _unknown_key(cls: type, table: dict[str, object], prefix: str, key: str) -> str:
    """An unknown key is misspelled, or stands in the wrong table: all lines after a [table] belong to it."""
    value = table[key]
    quoted = key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else shown(key)
    if isinstance(value, dict):
        guess = nearest(key, _homes())
        return f"{prefix}{quoted}: there is no such table" + (f" (did you mean [{guess}]?)" if guess else "")
    # Somebody's secret must not end in a log because its key is wrong.
    lead = f"{prefix}{quoted}: {'(not shown)' if 'password' in key.lower() else shown(value)}: "
    homes = [home for home, names in _homes().items() if key in names]
    if homes:
        return lead + f"there is no such key here; {_home_text(homes[0])}"
    guess = nearest(key, key_names(cls))
    return lead + "there is no such key" + (f" (did you mean {prefix}{guess}?)" if guess else "")


def _homes() -> dict[str, list[str]]:
    """The top level (under the empty name) and each table, with their keys."""
    tables: dict[str, Any] = {
        field.name: field.type for field in attrs.fields(Config) if field.type and attrs.has(field.type)
    }
    top = [name for name in key_names(Config) if name not in tables]
    return {"": top} | {name: key_names(cls) for name, cls in tables.items()}


def _home_text(home: str) -> str:
    return f"it belongs in [{home}]" if home else "it belongs at the top of the file, before the first [table]"
