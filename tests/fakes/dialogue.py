r"""Reads the transcripts in `tests/dialogues`; whoever runs them decides whether in memory or over a socket.

One step a line:

    # a comment; empty lines mean nothing
    @ submission          which listener, if not the one that the file's name begins with; the first step
    C: text               the client sends this line, CRLF added
    C= text\r\n           the client sends exactly these octets; \r \n \t \0 \\ and \xHH are escapes
    S: text               the server sends a line that begins with this
    S~ regex              the server sends a line in which this is found
    M: text               a message in alice's maildrop before a POP3 transcript begins; \n is a line end as stored
    TLS                   both sides do the handshake now
    CLOSED                the server closes the connection

The server must send nothing else than what is written. Files rely on the domain example.test with the accounts
alice@example.test and bob@example.test (password `correct horse`), the alias sales@example.test for both, and nothing
else there.
"""

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "dialogues"
_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{2}|[rnt0\\])")
_SHORT = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


@dataclass(frozen=True)
class Send:
    """The client sends these octets."""

    where: str
    octets: bytes


@dataclass(frozen=True)
class Expect:
    """The server sends one line that fits; `where` is file and line for the message of a failing test."""

    where: str
    text: str
    is_regex: bool

    def fits(self, line: str) -> bool:
        return bool(re.search(self.text, line)) if self.is_regex else line.startswith(self.text)


@dataclass(frozen=True)
class Handshake:
    """TLS begins."""

    where: str


@dataclass(frozen=True)
class Closed:
    """The server closes."""

    where: str


Step = Send | Expect | Handshake | Closed


@dataclass(frozen=True)
class Dialogue:
    """One transcript, and what is in alice's maildrop before it."""

    name: str
    listener: str
    steps: tuple[Step, ...]
    maildrop: tuple[bytes, ...] = ()


def dialogues(pattern: str = "smtp-*.txt") -> list[Dialogue]:
    """All transcripts whose file name fits."""
    return [read_dialogue(path) for path in sorted(FOLDER.glob(pattern))]


def read_dialogue(path: Path) -> Dialogue:
    """One file."""
    listener, steps, maildrop = path.name.partition("-")[0], [], []
    for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
        where = f"{path.name}:{number}"
        mark, text = line[:2], line[3:]
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("@ "):
            listener = line[2:].strip()
        elif mark == "M:":
            maildrop.append(_unescaped(text.encode()))
        elif mark == "C:":
            steps.append(Send(where, text.encode() + b"\r\n"))
        elif mark == "C=":
            steps.append(Send(where, _unescaped(text.encode())))
        elif mark in ("S:", "S~"):
            steps.append(Expect(where, text, mark == "S~"))
        elif line.strip() in ("TLS", "CLOSED"):
            steps.append((Handshake if line.strip() == "TLS" else Closed)(where))
        else:
            raise AssertionError(f"{where}: what is {line!r}?")
    return Dialogue(path.name, listener, tuple(steps), tuple(maildrop))


def _unescaped(text: bytes) -> bytes:
    def one(match):
        code = match.group(1)
        return bytes([int(code[1:], 16)]) if code.startswith(b"x") else _SHORT[code]

    return _ESCAPE.sub(one, text)
