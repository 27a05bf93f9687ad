"""The tables `[[hold]]`: which new mail waits until somebody releases it. All wrong keys of all tables at once."""

from pathlib import Path

from attrs import fields, frozen

from mailserver.config.fault import Wrong, Wrongs, nearest, shown
from mailserver.config.values import Rule, text
from mailserver.mail.address import canonical_domain, parse_mailbox
from mailserver.mail.fault import SyntaxFault
from mailserver.mail.reply import printable

_MAX_REASON_CHARS = 200
_PATTERN = 'must be an address such as "alice@example.org", or a whole domain such as "@example.org"'


@frozen
class Hold:
    """One table. A pattern is a folded address, or `@` and a canonical domain; empty fits everything."""

    sender: str = ""
    recipient: str = ""
    login: str = ""
    reason: str = ""


_PATTERNS = ("sender", "recipient", "login")
_KEYS = tuple(field.name for field in fields(Hold))


def _tables(value: object, base: Path) -> tuple[Hold, ...]:
    del base
    if not isinstance(value, list):
        raise Wrong("must be a list of tables: begin each with a line [[hold]], in two pairs of brackets")
    found: list[Hold] = []
    wrongs: list[tuple[str, object, Wrong]] = []
    for index, table in enumerate(value):
        if not isinstance(table, dict):
            wrongs.append((f"[{index}]", table, Wrong("must be a table: a line [[hold]] with its keys below")))
            continue
        keys: dict[str, str] = {}
        faults: list[tuple[str, object, Wrong]] = []
        for key, written in table.items():
            try:
                keys[key] = _read(key, written)
            except Wrong as wrong:
                faults.append((f"[{index}].{printable(key)}", written, wrong))
        if not faults and not any(keys.get(name) for name in _PATTERNS):
            faults.append((f"[{index}]", table, Wrong("must name at least one of sender, recipient and login")))
        wrongs += faults
        if not faults:
            found.append(Hold(**keys))
    if wrongs:
        raise Wrongs(wrongs)
    return tuple(found)


def _read(key: str, written: object) -> str:
    if key in _PATTERNS:
        return _pattern(written)
    if key == "reason":
        words = text(written)
        if len(words) > _MAX_REASON_CHARS or not words.isprintable():
            raise Wrong(f"must be one line of at most {_MAX_REASON_CHARS} characters")
        return words
    guess = nearest(key, _KEYS)
    raise Wrong("there is no such key", did_you_mean=guess)


def _pattern(value: object) -> str:
    written = text(value)
    if written.startswith("@"):
        domain = canonical_domain(written[1:])
        if domain is None:
            raise Wrong(_PATTERN)
        return f"@{domain}"
    mailbox = parse_mailbox(written)
    if isinstance(mailbox, SyntaxFault) or not mailbox.domain:
        is_domain = "." in written and canonical_domain(written) is not None
        raise Wrong(_PATTERN, did_you_mean=shown(f"@{written}") if is_domain else "")
    return mailbox.folded


tables = Rule(_tables)
