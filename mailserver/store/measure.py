"""How many octets a stored message has once it goes over POP3: every LF as CRLF, a final line end where none is.

Blocking, no Twisted. Dots that the wire doubles are not counted. `wire.pop3_content` sends by the same rule; a test
holds the two together.
"""

import os

BLOCK_OCTETS = 1 << 20


def wire_octets(descriptor: int) -> int:
    """Read an open file to its end, in blocks, and count. Raises `OSError`."""
    total = 0
    last = b"\n"
    while block := os.read(descriptor, BLOCK_OCTETS):
        total += len(block) + block.count(b"\n") - block.count(b"\r\n")
        # A CR that ended the block before this one belongs to the LF that begins it.
        if last == b"\r" and block.startswith(b"\n"):
            total -= 1
        last = block[-1:]
    return total if last == b"\n" else total + 2
