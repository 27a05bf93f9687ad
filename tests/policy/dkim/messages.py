"""Odd but lawful messages, the same for the same number: for comparing with other programs.

Odd white space, folds, duplicate fields, long lines, 8-bit text, empty bodies, trailing blank lines, no final line end.
"""

import random

_WORDS = (
    b"mail",
    b"a",
    b"Gr\xc3\xbc\xc3\x9fe",
    b"\xe9t\xe9",
    b"hello",
    b"=20",
    b"--",
    b".",
    b"x" * 70,
    b"From",
    b"\xf0\x9f\x93\xac",
)
_NAMES = (
    b"Subject",
    b"To",
    b"Cc",
    b"X-Odd",
    b"Reply-To",
    b"List-Id",
    b"Received",
    b"MIME-Version",
    b"x-lower",
    b"COMMENTS",
)


def message(number: int, *, is_8bit: bool = True, line_end: bytes = b"\r\n", ends_with_line: bool = True) -> bytes:
    """One message with CRLF line ends (or others). With `ends_with_line` the body, if any, ends with one."""
    rng = random.Random(number)
    lines = [_field(rng, b"From", b"<alice@example.org>", is_8bit)]
    lines += [
        _field(rng, rng.choice(_NAMES), _text(rng, rng.randrange(12), is_8bit), is_8bit)
        for _ in range(rng.randrange(12))
    ]
    rng.shuffle(lines)
    lines.append(_field(rng, b"Date", b"Wed, 25 Nov 2026 10:00:00 +0000", is_8bit))
    body = b"".join(_line(rng, is_8bit) for _ in range(rng.choice((0, 0, 1, 3, 20))))
    body += b"\r\n" * rng.choice((0, 0, 1, 2, 7))
    if rng.random() < 0.1:
        body += b"z" * rng.choice((900, 997))
        body += b"\r\n"
    if rng.random() < 0.15 and not ends_with_line:
        body += b"no line end"
    return (b"".join(lines) + b"\r\n" + body).replace(b"\r\n", line_end)


def _blanks(rng: random.Random) -> bytes:
    return rng.choice((b" ", b" ", b" ", b"  ", b"\t", b" \t ", b"   "))


def _text(rng: random.Random, count: int, is_8bit: bool) -> bytes:
    found = b""
    for _ in range(count):
        word = rng.choice(_WORDS)
        found += (word if is_8bit or word.isascii() else b"plain") + _blanks(rng)
    return found


def _field(rng: random.Random, name: bytes, value: bytes, is_8bit: bool) -> bytes:
    folds = rng.randrange(3)
    for _ in range(folds):
        # No line of a fold is blanks alone: that is obsolete syntax, on which programs differ (RFC 5322 4.2).
        value += b"\r\n" + _blanks(rng) + (b"folded" if rng.random() < 0.5 else _text(rng, 3, is_8bit) + b"end")
    return (
        name
        + b":"
        + rng.choice((b" ", b"", b"  ", b"\t"))
        + (value or b"x")
        + rng.choice((b"", b"", b" ", b"\t "))
        + b"\r\n"
    )


def _line(rng: random.Random, is_8bit: bool) -> bytes:
    return rng.choice((b"", b" ", b"\t", b"", _text(rng, rng.randrange(9), is_8bit), b"tail ")) + b"\r\n"
