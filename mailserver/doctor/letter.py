"""The mail to the postmaster about what has changed: plain text, for a person. Pure."""

import textwrap
from collections.abc import Iterator

from mailserver.doctor.changes import Changes
from mailserver.doctor.check import Check, Verdict
from mailserver.mail.reply import printable

_WIDTH = 76
_MAX_ITEMS = 40


def subject(changes: Changes, hostname: str) -> str:
    """What it is about, the worst first."""
    parts = []
    broken = sum(1 for one in changes.worse if one.verdict is Verdict.FAIL)
    doubtful = len(changes.worse) - broken
    if broken:
        parts.append("something does not work" if broken == 1 else f"{broken} things do not work")
    if doubtful:
        parts.append("something to look at" if doubtful == 1 else f"{doubtful} things to look at")
    if changes.lost:
        parts.append("something cannot be checked")
    if changes.mended:
        parts.append("something is mended" if len(changes.mended) == 1 else f"{len(changes.mended)} things are mended")
    return f"{hostname}: {', '.join(parts)}"


def text(changes: Changes, hostname: str, *, is_first: bool) -> str:
    """The whole text."""
    broken = [one for one in changes.worse if one.verdict is Verdict.FAIL]
    doubtful = [one for one in changes.worse if one.verdict is not Verdict.FAIL]
    when = "for the first time" if is_first else "as each day"
    blocks = [_wrapped(f"The mail server {hostname} has looked after itself {when}. This is what has changed.", "")]
    blocks += _block("These do not work:", broken)
    blocks += _block("These work, and should be seen to:", doubtful)
    blocks += _block("These could not be checked for three days:", changes.lost)
    blocks += _block("These are mended, or better than they were:", changes.mended, has_remedy=False)
    blocks.append(
        "See how everything stands:\n\n    mailserver doctor\n\n"
        + _wrapped(
            "You get this mail only when something has changed. docs/doctor.md explains each check; [doctor] in the "
            "configuration turns the daily look off.",
            "",
        )
    )
    return "\n\n".join(blocks) + "\n"


def _block(title: str, checks: "list[Check] | tuple[Check, ...]", *, has_remedy: bool = True) -> Iterator[str]:
    if not checks:
        return
    items = ["\n".join(_item(one, has_remedy)) for one in checks[:_MAX_ITEMS]]
    if len(checks) > _MAX_ITEMS:
        items.append(f"* and {len(checks) - _MAX_ITEMS} more")
    yield title + "\n\n" + "\n".join(items)


def _item(one: Check, has_remedy: bool) -> Iterator[str]:
    yield _wrapped(printable(f"{one.name}: {one.finding}"), "* ")
    if has_remedy and one.remedy:
        yield _wrapped(printable(one.remedy), "  -> ")


def _wrapped(line: str, lead: str) -> str:
    """Long words such as names and commands stay whole, so that they can be copied."""
    return textwrap.fill(
        line,
        _WIDTH,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    )
