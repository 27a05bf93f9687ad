"""Inputs cut into what arrives together, and the few octets in front of an input that steer a target."""

from collections.abc import Iterator, Sequence


def cut(octets: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    """`octets` in pieces of these sizes, used in turn; 0 is all that is left."""
    position = turn = 0
    while position < len(octets):
        size = sizes[turn % len(sizes)] or len(octets)
        yield octets[position : position + size]
        position += size
        turn += 1


class Dice:
    """Decisions of the other side: the n-th is the n-th bit of a pattern, the same however the input is cut."""

    def __init__(self, pattern: int) -> None:
        self._pattern = pattern
        self._thrown = 0

    def is_against(self) -> bool:
        """The next decision; a pattern of 0 decides always in favor."""
        bit = self._pattern >> (self._thrown % 8) & 1
        self._thrown += 1
        return bool(bit)
