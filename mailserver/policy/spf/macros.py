"""Macro strings: read once, expanded for a client (RFC 7208 7). Pure.

A macro string becomes a tuple of parts: literal text, and `Macro`s with what is to be done to their value. The value of
each letter comes from the caller, so nothing here looks anything up.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from mailserver.mail.fault import SyntaxFault

# RFC 7208 7.2: these three only in the text of an explanation.
DOMAIN_LETTERS = frozenset("slodiphv")
TEXT_LETTERS = DOMAIN_LETTERS | frozenset("crt")

MAX_NAME_OCTETS = 253

_EXPAND = re.compile(r"%(?:([%_-])|\{([A-Za-z])([0-9]*)([rR]?)([-.+,/_=]*)\})")
_ESCAPES = {"%": "%", "_": " ", "-": "%20"}
# RFC 7208 7.1: toplabel, behind its dot; letters and digits with at least one that is no digit.
_TOP_LABEL = re.compile(r"\.(?:[0-9]*[A-Za-z][0-9A-Za-z]*|[0-9A-Za-z]+-[0-9A-Za-z-]*[0-9A-Za-z])\.?\Z")


@dataclass(frozen=True, slots=True)
class Macro:
    """`%{ir.}`: the `letter` in lower case; `keep` the number of right-hand parts, 0 for all; `delimiters` never empty.

    `is_escaped`: it was written in upper case, so that the value is escaped as in a URL.
    """

    letter: str
    keep: int = 0
    is_reversed: bool = False
    delimiters: str = "."
    is_escaped: bool = False


MacroString = tuple[str | Macro, ...]


def parse_macro_string(text: str, letters: frozenset[str]) -> MacroString | SyntaxFault:
    """RFC 7208 7.1 macro-string, or explain-string when spaces are in it; `letters` are those allowed here."""
    parts: list[str | Macro] = []
    position = 0
    while position < len(text):
        percent = text.find("%", position)
        literal = text[position:] if percent < 0 else text[position:percent]
        if literal:
            parts.append(literal)
        if percent < 0:
            break
        found = _EXPAND.match(text, percent)
        if found is None:
            return SyntaxFault("a % that begins no macro")
        escape, letter, digits, reverse, delimiters = found.groups()
        if escape:
            parts.append(_ESCAPES[escape])
        elif letter.lower() not in letters:
            return SyntaxFault(f"the macro %{{{letter}}} is not for this place")
        elif digits and not int(digits[:10]):
            return SyntaxFault("a macro that keeps no part")
        else:
            parts.append(
                Macro(letter.lower(), int(digits[:10] or 0), bool(reverse), delimiters or ".", letter.isupper())
            )
        position = found.end()
    return tuple(parts)


def parse_domain_spec(text: str) -> MacroString | SyntaxFault:
    """RFC 7208 7.1 domain-spec: a macro-string that ends in a macro or in a label that can be a top-level domain."""
    if not text:
        return SyntaxFault("a domain is missing")
    parts = parse_macro_string(text, DOMAIN_LETTERS)
    if isinstance(parts, SyntaxFault):
        return parts
    ends_in_macro = any(found.end() == len(text) for found in _EXPAND.finditer(text))
    if not ends_in_macro and not _TOP_LABEL.search(text):
        return SyntaxFault("a domain does not end in a name or a macro")
    return parts


def letters_of(parts: MacroString) -> frozenset[str]:
    """The letters whose values an expansion needs."""
    return frozenset(part.letter for part in parts if isinstance(part, Macro))


def expand(parts: MacroString, values: Mapping[str, str]) -> str:
    """The text; `values` must hold every letter in `letters_of(parts)`."""
    return "".join(part if isinstance(part, str) else _expanded(part, values[part.letter]) for part in parts)


def _expanded(macro: Macro, value: str) -> str:
    """RFC 7208 7.3."""
    if macro.keep or macro.is_reversed or macro.delimiters != ".":
        pieces = re.split(f"[{re.escape(macro.delimiters)}]", value)
        if macro.is_reversed:
            pieces.reverse()
        value = ".".join(pieces[-macro.keep :] if macro.keep else pieces)
    return quote(value, safe="-._~") if macro.is_escaped else value


def as_name(text: str) -> str:
    """An expanded domain-spec as a name to ask for: no final dot, left labels cut until it fits (RFC 7208 7.3)."""
    name = text.lower().removesuffix(".")
    while len(name) > MAX_NAME_OCTETS:
        _, dot, rest = name.partition(".")
        if not dot:
            break
        name = rest
    return name
