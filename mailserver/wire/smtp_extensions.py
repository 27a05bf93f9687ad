"""What a next hop said it can do: the reply to EHLO as a value (RFC 5321 4.1.1.1)."""

from dataclasses import dataclass

from mailserver.mail.reply import Reply

MAX_KEYWORDS = 100


@dataclass(frozen=True, slots=True)
class Extensions:
    """The extensions we make use of. `size_limit` in octets, None for no limit known.

    The limits of RFC 9422: messages in a connection, recipients and recipient domains in a transaction.
    """

    pipelining: bool = False
    eightbitmime: bool = False
    smtputf8: bool = False
    dsn: bool = False
    starttls: bool = False
    requiretls: bool = False
    size_offered: bool = False
    size_limit: int | None = None
    mechanisms: frozenset[str] = frozenset()
    max_messages: int | None = None
    max_recipients: int | None = None
    max_domains: int | None = None


def parse_extensions(reply: Reply) -> Extensions:
    """The keyword table of a 250 to EHLO; the first line is a greeting. Unknown and malformed keywords are ignored."""
    table: dict[str, tuple[str, ...]] = {}
    for text in reply.lines[1 : MAX_KEYWORDS + 1]:
        keyword, *parameters = text.upper().replace("\t", " ").split(" ")
        if keyword.startswith("AUTH="):
            # The form before RFC 2554, still spoken beside or instead of the right one.
            keyword, parameters = "AUTH", [keyword[5:], *parameters]
        words = tuple(word for word in parameters if word)
        table[keyword] = table.get(keyword, ()) + words
    limits = dict(word.partition("=")[::2] for word in table.get("LIMITS", ()))
    return Extensions(
        pipelining="PIPELINING" in table,
        eightbitmime="8BITMIME" in table,
        smtputf8="SMTPUTF8" in table,
        dsn="DSN" in table,
        starttls="STARTTLS" in table,
        requiretls="REQUIRETLS" in table,
        size_offered="SIZE" in table,
        # RFC 1870 4: zero, or no number, means that no fixed limit is in force.
        size_limit=_number(next(iter(table.get("SIZE", ())), "")),
        mechanisms=frozenset(table.get("AUTH", ())),
        max_messages=_number(limits.get("MAILMAX", "")),
        max_recipients=_number(limits.get("RCPTMAX", "")),
        max_domains=_number(limits.get("RCPTDOMAINMAX", "")),
    )


def _number(text: str) -> int | None:
    """A positive decimal number of at most 18 ASCII digits, else None."""
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        return None
    return int(text) or None
