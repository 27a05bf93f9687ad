"""From a TOML table to a `Config`, with every wrong key and value found in one go.

cattrs walks the classes of `schema`; the rule in each annotation reads the value. Two traps of cattrs are avoided by
that: it would turn 3 into "3" and "abc" into a list of letters.
"""

from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import attrs
from cattrs import AttributeValidationNote, ClassValidationError, Converter, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn, override

from mailserver.config.fault import Wrong, Wrongs, nearest, shown
from mailserver.config.schema import DERIVED, REQUIRED, Config
from mailserver.config.values import Rule


def structure(table: dict[str, object], base: Path) -> tuple[Config | None, list[str]]:
    """The configuration, or None and all errors as `key: value: what is allowed`. Paths are taken from `base`."""
    try:
        return _converter(base).structure(table, Config), []
    except ClassValidationError as error:
        return None, _texts(error, Config, table, "")


def key_names(cls: type) -> list[str]:
    """The keys of a table, in the order of the schema."""
    return [field.name for field in attrs.fields(cls) if not (cls is Config and field.name in DERIVED)]


def _converter(base: Path) -> Converter:
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


def _texts(error: ClassValidationError, cls: type, table: dict[str, object], prefix: str) -> list[str]:
    texts: list[str] = []
    for part in error.exceptions:
        if isinstance(part, ForbiddenExtraKeysError):
            texts += [_unknown_key(cls, table, prefix, key) for key in table if key in part.extra_fields]
            continue
        note = next(note for note in part.__notes__ if isinstance(note, AttributeValidationNote))
        key = prefix + note.name
        if isinstance(part, ClassValidationError):
            inner = table[note.name]
            assert isinstance(inner, dict)
            texts += _texts(part, note.type, inner, key + ".")
        elif isinstance(part, Wrongs):
            texts += [f"{key}{where}: {shown(value)}: {wrong}" for where, value, wrong in part.parts]
        elif isinstance(part, Wrong):
            texts.append(f"{key}: {shown(table[note.name])}: {part}")
        elif isinstance(part, KeyError) and note.name not in table:
            texts.append(f"{key}: missing: set {REQUIRED[note.name]}")
        else:
            raise part
    return texts


def _unknown_key(cls: type, table: dict[str, object], prefix: str, key: str) -> str:
    """An unknown key is misspelled, or stands in the wrong table: all lines after a [table] belong to it."""
    quoted = key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else shown(key)
    lead = f"{prefix}{quoted}: {shown(table[key])}: "
    homes = [home for home, names in _homes().items() if key in names]
    if homes and not isinstance(table[key], dict):
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
