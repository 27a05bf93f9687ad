"""The file with the last session of each destination of a queued message, `queue/transcripts/<id>`. Pure: octets only.

Plain text for a pager. A section begins with `== <destination>, <time> ==`; other lines never begin with `=`, because
each has its time in front. A destination's new section takes the place of its old one; the oldest go when the whole
becomes too long.
"""

from datetime import UTC, datetime

from mailserver.mail.reply import printable

MAX_CHARS = 256 * 1024
_START = "== "
_END = " =="


def with_section(old: str, destination: str, text: str, at: float) -> str:
    """The file's new text. `at` is when the attempt ended, seconds since the epoch."""
    when = datetime.fromtimestamp(at, UTC).isoformat(" ", "seconds")
    name = printable(destination)
    sections = [one for one in _sections(old) if _name(one) != name]
    sections.append(f"{_START}{name}, {when}{_END}\n{text}")
    total = sum(map(len, sections))
    while len(sections) > 1 and total > MAX_CHARS:
        total -= len(sections.pop(0))
    return "".join(sections)


def _sections(text: str) -> list[str]:
    found: list[str] = []
    for line in text.splitlines(keepends=True):
        if line.startswith(_START) or not found:
            found.append("")
        found[-1] += line
    return found


def _name(section: str) -> str:
    heading = section.partition("\n")[0].removeprefix(_START)
    return heading.rpartition(", ")[0]
