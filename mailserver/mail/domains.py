"""Tables by domain. Pure."""

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def most_specific(table: Mapping[str, T], domain: str) -> T | None:
    """What stands for a canonical domain: under its own name, else its parent's, else that one's; None for nothing.

    An address literal (`[192.0.2.1]`) has no parents.
    """
    if not table:
        return None
    name = domain
    while name:
        if name in table:
            return table[name]
        name = "" if name.startswith("[") else name.partition(".")[2]
    return None
