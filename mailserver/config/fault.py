"""How a wrong value is told: what is allowed, and perhaps what was meant. Collected, never raised one by one."""

import datetime
import difflib
from collections.abc import Iterable, Mapping

from mailserver.mail.reply import printable

_SHOWN_LENGTH = 60


class Wrong(ValueError):
    """One value that is not allowed. The text says what is; `did_you_mean` is the nearest thing that would do."""

    def __init__(self, allowed: str, did_you_mean: str = "") -> None:
        super().__init__(f"{allowed} (did you mean {did_you_mean}?)" if did_you_mean else allowed)


class Wrongs(ValueError):
    """Several wrong values inside one: `(where, value, what is allowed)`, such as `("[1]", 5, Wrong(...))`."""

    def __init__(self, parts: list[tuple[str, object, Wrong]]) -> None:
        super().__init__(f"{len(parts)} wrong values")
        self.parts = parts


class ConfigError(Exception):
    """The configuration cannot be used. `errors` are whole lines; `str()` is all of them, one a line."""

    def __init__(self, errors: Iterable[str]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(self.errors))


def shown(value: object) -> str:
    """A TOML value as its owner wrote it, as far as that can be known; cut when long, no controls."""
    if isinstance(value, str):
        return f'"{_cut(printable(value))}"'
    return _cut(_toml(value))


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{printable(value)}"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{printable(str(key))} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    return printable(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 3] + "..."


def nearest(word: str, words: Iterable[str]) -> str:
    """The one of `words` that was probably meant, or an empty text."""
    found = difflib.get_close_matches(word.lower().replace("-", "_"), list(words), n=1, cutoff=0.6)
    return found[0] if found else ""
