"""Stored content on its way to a POP3 client: LF becomes CRLF, dots are doubled, TOP is cut (RFC 1939 3, 5, 7).

Sans-IO and free to be cut anywhere: the same octets come out however the input was split. What is CRLF already is
sent as it is; a bare CR passes. Content without a final line end gets one, because the terminator needs a line of its
own. No work is done per line, so a line may have any length.
"""

TERMINATOR = b".\r\n"


class ContentEncoder:
    """One multi-line response's content. Feed `encode` with stored octets, then ask `finish` once.

    `body_lines` None sends all (RETR); a number cuts after that many lines of the body (TOP), the header section and
    the empty line behind it always included.
    """

    def __init__(self, body_lines: int | None = None) -> None:
        self.octets = 0  # sent so far with CRLF, doubled dots not counted: what LIST and STAT promise
        self.is_complete = False  # TOP has all it wants: nothing more needs to be read
        self._ends_in_cr = False
        self._at_line_start = True
        self._cut = None if body_lines is None else _TopCut(body_lines)

    def encode(self, piece: bytes) -> bytes:
        """The octets to send for the next stored octets; `b""` when there are none or TOP is complete."""
        if not piece or self.is_complete:
            return b""
        out = _with_crlf(piece, self._ends_in_cr)
        self._ends_in_cr = piece.endswith(b"\r")
        if self._cut is not None:
            out, self.is_complete = self._cut.take(out)
            if not out:
                return b""
        self.octets += len(out)
        starts_line, self._at_line_start = self._at_line_start, out.endswith(b"\n")
        # The single octet is found a hundred times faster than the pair, and Base64 has no dots at all.
        if b"." in out and b"\n." in out:
            out = out.replace(b"\n.", b"\n..")
        return b"." + out if starts_line and out.startswith(b".") else out

    def finish(self) -> bytes:
        """The end: a CRLF where the content had none, and the terminator."""
        if self._at_line_start:
            return TERMINATOR
        self.octets += 2
        return b"\r\n" + TERMINATOR


def encode_whole(content: bytes, body_lines: int | None = None) -> tuple[bytes, int]:
    """A whole message at once, terminator included, and how many octets it counts as."""
    encoder = ContentEncoder(body_lines)
    out = encoder.encode(content)
    end = encoder.finish()
    return out + end, encoder.octets


def _with_crlf(piece: bytes, follows_cr: bool) -> bytes:
    """`piece` with every LF that has no CR before it given one; `follows_cr`: the octet before `piece` was CR."""
    if follows_cr and piece.startswith(b"\n"):
        return b"\n" + _with_crlf(piece[1:], False)
    if b"\r" not in piece:
        return piece.replace(b"\n", b"\r\n")
    if piece.count(b"\r\n") == piece.count(b"\n"):
        return piece
    # CR CR LF keeps both its CRs: the first step takes one away, the second puts it back.
    return piece.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


class _TopCut:
    """Where TOP ends. Works on octets whose every LF follows a CR, so that lines are counted by LF alone."""

    def __init__(self, body_lines: int) -> None:
        self._left = body_lines
        self._in_header = True
        # The last octets seen; a message that begins with CRLF has an empty header section (RFC 5322 3.5).
        self._tail = b"\r\n"

    def take(self, octets: bytes) -> tuple[bytes, bool]:
        """What of `octets` is sent, and whether that is the end."""
        header = b""
        if self._in_header:
            end = self._header_end(octets)
            if end < 0:
                return octets, False
            self._in_header = False
            header, octets = octets[:end], octets[end:]
        if self._left <= 0:
            return header, True
        lines = octets.count(b"\n")
        if lines < self._left:
            self._left -= lines
            return (header + octets if header else octets), False
        return header + octets[: _after_line(octets, self._left)], True

    def _header_end(self, octets: bytes) -> int:
        """The position behind the empty line, or -1 when it is not here yet."""
        joint = self._tail + octets[:4]
        across = joint.find(b"\r\n\r\n")
        if across >= 0:
            return across + 4 - len(self._tail)
        within = octets.find(b"\r\n\r\n")
        if within >= 0:
            return within + 4
        self._tail = (self._tail + octets[-3:])[-3:]
        return -1


def _after_line(octets: bytes, count: int) -> int:
    """The position behind the `count`-th LF, which must exist; halves instead of going line by line."""
    low, high = 0, len(octets)
    while high - low > 4096:
        middle = (low + high) // 2
        in_first_half = octets.count(b"\n", low, middle)
        if in_first_half >= count:
            high = middle
        else:
            low, count = middle, count - in_first_half
    for _ in range(count):
        low = octets.index(b"\n", low) + 1
    return low
