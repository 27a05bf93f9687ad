"""What was said in an outgoing session, line by line, for who looks after mail. In memory, bounded, no disk.

Each line has the seconds since the attempt began and a mark: `>` we said, `<` the other side said, `-` what happened,
`!` what went wrong. Every line is printable. Who writes into it keeps passwords and content out.
"""

from collections.abc import Callable

from mailserver.mail.reply import Reply, printable

MAX_CHARS = 64 * 1024
_MAX_LINE_CHARS = 2000


class Transcript:
    """`monotonic` is the clock. What goes beyond 64 KiB is left out, and that is said."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._began = monotonic()
        self._lines: list[str] = []
        self._room = MAX_CHARS

    def happened(self, text: str) -> None:
        """A remark."""
        self._add("-", text)

    def failed(self, text: str) -> None:
        """Trouble."""
        self._add("!", text)

    def said(self, octets: bytes) -> None:
        """Commands of ours, each on its line."""
        for line in octets.decode("utf-8", "backslashreplace").split("\r\n"):
            if line:
                self._add(">", line)

    def heard(self, reply: Reply) -> None:
        """The other side's words."""
        for number, line in enumerate(reply.lines or ("",)):
            enhanced = f"{reply.enhanced} " if reply.enhanced and not number else ""
            mark = "-" if number + 1 < len(reply.lines) else " "
            self._add("<", f"{reply.code}{mark}{enhanced}{line}")

    @property
    def text(self) -> str:
        """All lines, LF line ends; empty when nothing was said."""
        return "".join(f"{line}\n" for line in self._lines)

    def _add(self, mark: str, text: str) -> None:
        if self._room <= 0:
            return
        line = f"{self._monotonic() - self._began:8.3f} {mark} {printable(text)[:_MAX_LINE_CHARS]}"
        self._room -= len(line) + 1
        self._lines.append(line if self._room > 0 else "         - (the rest is left out)")
