"""SMTP replies as values, and the catalogue of every text this server says (RFC 5321 4.2, RFC 3463, RFC 2034).

No other module writes a reply text. Public text never holds paths, host internals or exception strings.
"""

from dataclasses import dataclass

# RFC 5321 4.5.3.1.5: a reply line is at most 512 octets, CRLF included.
MAX_REPLY_LINE_OCTETS = 512


@dataclass(frozen=True, slots=True)
class Reply:
    """`code` three digits, `enhanced` such as `2.1.5` or empty where none belongs (RFC 2034 4), one text per line."""

    code: int
    enhanced: str
    lines: tuple[str, ...]

    @property
    def is_positive(self) -> bool:
        """2yz and 3yz."""
        return self.code < 400

    @property
    def is_temporary(self) -> bool:
        """4yz."""
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        """5yz."""
        return self.code >= 500

    def encode(self) -> bytes:
        """The octets to send, CRLF at each end. Controls become `?`; a line over 512 octets is cut."""
        out = []
        last = len(self.lines) - 1
        for number, text in enumerate(self.lines):
            lead = f"{self.code}{' ' if number == last else '-'}{self.enhanced + ' ' if self.enhanced else ''}"
            line = (lead + printable(text)).encode("utf-8")
            if len(line) > MAX_REPLY_LINE_OCTETS - 2:
                line = line[: MAX_REPLY_LINE_OCTETS - 2].decode("utf-8", "ignore").encode("utf-8")
            out.append(line + b"\r\n")
        return b"".join(out)

    def __str__(self) -> str:
        """One line for logs and reports."""
        text = " ".join(self.lines)
        return f"{self.code} {self.enhanced} {text}" if self.enhanced else f"{self.code} {text}"


def printable(text: str) -> str:
    """`text` with every control, line separator and lone surrogate replaced by `?` (CWE-117)."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == " " else "?" for char in text)


def reply(code: int, enhanced: str, *lines: str) -> Reply:
    """A reply; at least one line."""
    assert lines, "a reply has at least one line"
    return Reply(code, enhanced, lines)
