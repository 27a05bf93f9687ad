"""The value a parser returns when octets do not follow the grammar.

A peer's mistake is expected, so it is a value and never an exception.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SyntaxFault:
    """What was wrong, in words that may be said to the peer (no octets of the peer's own)."""

    reason: str
