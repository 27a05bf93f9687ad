"""Strict readers for the JSON in queue files: a value of the right kind, or `Damaged`. Pure."""

import json

# `json.loads` looks for encodings each time; at start this runs three times for each of 100,000 messages.
_decode_json = json.JSONDecoder().decode
# 9999-01-01, in seconds since the epoch.
_LATEST = 253_370_764_800


class Damaged(Exception):
    """The file does not follow the format. The text is for the log and holds none of the file's own octets."""


class NewerFormat(Exception):
    """The file was written by a later release. It stays where it is, for that release."""

    def __init__(self, version: int, known: int) -> None:
        super().__init__(
            f"written in format {version}, and this release reads up to format {known}: "
            "start the release that wrote it, or a later one"
        )


def read_object(
    octets: bytes, keys: frozenset[str], what: str, *, are_others_allowed: bool = False
) -> dict[str, object]:
    """One JSON object in ASCII, without others than `keys` unless allowed; `what` names it in the fault."""
    try:
        value = _decode_json(octets.decode("ascii"))
    except (ValueError, RecursionError) as fault:
        raise Damaged(f"the {what} is not JSON") from fault
    if not isinstance(value, dict):
        raise Damaged(f"the {what} is not an object")
    if not are_others_allowed and not keys.issuperset(value):
        raise Damaged(f"the {what} has unknown parts")
    return value


def read_list(octets: bytes, key: str, newest: int, most_octets: int) -> list[object]:
    """The items of a file `{"version": N, "<key>": [...]}`. Raises `Damaged` or `NewerFormat`."""
    if len(octets) > most_octets:
        raise Damaged("the list is too long")
    about = read_object(octets, frozenset(("version", key)), "list", are_others_allowed=True)
    version = read_count(about, "version")
    if version > newest:
        raise NewerFormat(version, newest)
    items = about.get(key)
    if version < 1 or len(about) > 2 or not isinstance(items, list):
        raise Damaged("the list has unknown parts")
    return items


def read_text(about: dict[str, object], key: str, default: str | None = None) -> str:
    """A text; missing without a default is damage."""
    value = about.get(key, default)
    if not isinstance(value, str):
        raise Damaged(f"{key} is not a text")
    return value


def read_maybe_text(about: dict[str, object], key: str) -> str | None:
    """A text or null."""
    return None if about.get(key) is None else read_text(about, key)


def read_flag(about: dict[str, object], key: str) -> bool:
    """True or false; missing is false."""
    value = about.get(key, False)
    if not isinstance(value, bool):
        raise Damaged(f"{key} is not true or false")
    return value


def read_count(about: dict[str, object], key: str, default: int | None = None) -> int:
    """A whole number from 0 up."""
    value = about.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Damaged(f"{key} is not a number")
    return value


def read_time(about: dict[str, object], key: str, default: float | None = None) -> float:
    """Seconds from 0 up, and before the year 9999: later ones cannot be written as a date."""
    value = about.get(key, default)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise Damaged(f"{key} is not a time")
    try:
        seconds = float(value)
    except OverflowError as fault:
        raise Damaged(f"{key} is not a time") from fault
    # A comparison with what is no number is false.
    if not 0 <= seconds < _LATEST:
        raise Damaged(f"{key} is not a time")
    return seconds
