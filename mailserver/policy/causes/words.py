"""Prepares the other side's words for the rules: no case, no accents, and names out of the way.

Addresses, hosts and URLs are a stranger's names, not his words: `quota@spam.example` says nothing about either.
"""

import re
import unicodedata
from dataclasses import dataclass

_URL = re.compile(r"<?https?://[^\s<>\"']{1,600}>?", re.IGNORECASE)
_ADDRESS = re.compile(r"<?[^\s<>@\"'()\[\]:;,]{1,128}@[a-z0-9.\-\[\]]{1,255}>?", re.IGNORECASE)
_IPV6 = re.compile(r"\[?(?:ipv6:)?(?<![\w:])(?:[0-9a-f]{1,4}:){2,7}(?::?[0-9a-f]{1,4}){0,7}(?![\w:])\]?", re.IGNORECASE)
_IPV4 = re.compile(r"\[?\(?(?<![\d.])(?:\d{1,3}\.){3}(?:\d{1,3}|x{1,3})(?![\d.])\)?\]?(?::\d{1,5})?", re.IGNORECASE)
_HOST = re.compile(r"(?<![\w.@-])(?:[a-z0-9_](?:[a-z0-9_-]{0,62})\.){1,8}[a-z]{2,18}(?![\w@-]|\.\w)\.?", re.IGNORECASE)
# Lists of domains and of URLs, and what else is a list of addresses; by the names of the well-known publishers.
_DOMAIN_LIST = re.compile(r"\b(?:dbl|rhsbl|surbl|uribl|uri|ivmuri)\b", re.IGNORECASE)
_ADDRESS_LIST = re.compile(
    r"spamhaus|sorbs|spamcop|barracuda|abuseat|uceprotect|dnsbl|\brbl|\bbl\b|manitu|cloudmark|spamrl|hostkarma|"
    r"senderscore|psbl|mailspike|backscatterer|spamrats|blocklist|cobion|prs\.proofpoint|mail-abuse|njabl|nerd\.dk|"
    r"invaluement|truncate\.gbudb|\bzen\b|\bxbl\b|\bsbl\b",
    re.IGNORECASE,
)
_POLICY_LIST = re.compile(r"\b(?:pbl|dul|dialup|dynablock)\b", re.IGNORECASE)
# What somebody does all this for says nothing about this message.
_PURPOSE = re.compile(
    r"\b(?:to (?:best |better )?(?:protect|reduce|prevent|fight)|in order to (?:protect|reduce|prevent|fight)|"
    r"(?:um|zum schutz) [^.;,]{0,60}vor) [^.;,]{0,90}[.;,]?"
)
# Letters that carry their stroke in themselves.
_STROKES = str.maketrans("łøđ’`", "lod''")
_BLANKS = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Words:
    """`text` is what the rules read; `said` is what was said (URLs kept), for tags; `urls` what stood in it."""

    text: str
    said: str
    urls: tuple[str, ...]
    names_ipv6: bool


def prepare(said: str) -> Words:
    """`said` for the rules. Linear in its length."""
    urls = tuple(_URL.findall(said))
    text = _URL.sub(" <web> ", said)
    text = _ADDRESS.sub(" <addr> ", text)
    names_ipv6 = _IPV6.search(text) is not None
    text = _IPV4.sub(" <ip> ", _IPV6.sub(" <ip> ", text))
    text = _HOST.sub(_host_word, text)
    return Words(_PURPOSE.sub(" ", plain(text)), said, urls, names_ipv6)


def plain(text: str) -> str:
    """No case, no accents on Latin, Greek and Cyrillic letters, curly quotes straight, blanks single."""
    apart = unicodedata.normalize("NFKD", text.casefold().translate(_STROKES))
    bare = "".join(char for char in apart if not "\u0300" <= char <= "\u036f")
    return _BLANKS.sub(" ", unicodedata.normalize("NFC", bare))


def _host_word(match: re.Match[str]) -> str:
    host = match[0]
    if _DOMAIN_LIST.search(host):
        return " <domain-list> "
    if _POLICY_LIST.search(host):
        return " <policy-list> "
    return " <address-list> " if _ADDRESS_LIST.search(host) else " <name> "
