"""What rspamd answers to /checkv2, as a value. Pure; any octets may come, and none of them is believed unread.

The action `greylist` counts as none, as it does for rspamd's own milter: it is only the name of a range of scores. When
its greylisting module puts a message off, the action is `soft reject`; without that module, `greylist` at each attempt
would keep a message out for good.
"""

import json
import math

from mailserver.mail.junk import usable_field
from mailserver.ports.scanning import ScanAction, Scanned

MAX_ANSWER_OCTETS = 1 << 20
_MAX_SYMBOLS = 20
_MAX_SEEN = 5_000
_MAX_FIELDS = 8
_MAX_WORDS_CHARS = 200
_MAX_NAME_CHARS = 60

_ACTIONS = {
    "no action": ScanAction.TAKE,
    "greylist": ScanAction.TAKE,
    "add header": ScanAction.JUNK,
    "rewrite subject": ScanAction.JUNK,
    # To be kept from the recipient, and nothing that is taken is ever lost here.
    "quarantine": ScanAction.JUNK,
    "discard": ScanAction.JUNK,
    "soft reject": ScanAction.DEFER,
    "reject": ScanAction.REFUSE,
}


class NoAnswer(Exception):
    """What came is no answer. The text is for the log, in our words."""


def read_answer(octets: bytes) -> Scanned:
    """The verdict in the body of an answer. Raises `NoAnswer`."""
    if len(octets) > MAX_ANSWER_OCTETS:
        raise NoAnswer("its answer is too long")
    try:
        told = json.loads(octets)
    except (ValueError, RecursionError) as fault:
        raise NoAnswer("its answer is not JSON") from fault
    if not isinstance(told, dict):
        raise NoAnswer("its answer is not an object")
    word = told.get("action")
    action = _ACTIONS.get(word) if isinstance(word, str) else None
    if action is None or not isinstance(word, str):
        trouble = told.get("error")
        raise NoAnswer(
            f"it says: {_plain(trouble)}" if isinstance(trouble, str) else "its answer names no known action"
        )
    return Scanned(
        action,
        word,
        _number(told.get("score")),
        _number(told.get("required_score")),
        _symbols(told.get("symbols")),
        _message(told.get("messages")),
        _fields(told.get("milter")),
    )


def _number(value: object) -> float:
    """Within what makes sense for a score; 0 for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    try:
        number = float(value)
    except OverflowError:
        return 0.0
    return max(-100_000.0, min(100_000.0, number)) if math.isfinite(number) else 0.0


def _symbols(told: object) -> tuple[tuple[str, float], ...]:
    """What counts anything, the heaviest first."""
    if not isinstance(told, dict):
        return ()
    found = []
    for name, about in list(told.items())[:_MAX_SEEN]:
        score = _number(about.get("score")) if isinstance(about, dict) else 0.0
        if score:
            found.append((_plain(name)[:_MAX_NAME_CHARS], score))
    found.sort(key=lambda one: -abs(one[1]))
    return tuple(found[:_MAX_SYMBOLS])


def _message(told: object) -> str:
    """What the sender is to read: `messages.smtp_message`, or the first there is."""
    if not isinstance(told, dict):
        return ""
    texts = [text for text in (told.get("smtp_message"), *list(told.values())[:1]) if isinstance(text, str)]
    return _plain(texts[0]) if texts else ""


def _fields(told: object) -> tuple[tuple[str, str], ...]:
    """`milter.add_headers`: a text, a table with `value`, or a list of these for each name."""
    added = told.get("add_headers") if isinstance(told, dict) else None
    if not isinstance(added, dict):
        return ()
    found: list[tuple[str, str]] = []
    for name, written in list(added.items())[:100]:
        first = written[0] if isinstance(written, list) and written else written
        value = first.get("value") if isinstance(first, dict) else first
        field = usable_field(name, value) if isinstance(value, str) else None
        if field is not None and len(found) < _MAX_FIELDS:
            found.append(field)
    return tuple(found)


def _plain(text: str) -> str:
    """One line of printable ASCII, bounded."""
    text = "".join(char if " " <= char <= "~" else " " if char in "\r\n\t" else "?" for char in text[:1000])
    return " ".join(text.split())[:_MAX_WORDS_CHARS]
