"""Mailboxes and domains as values (RFC 5321 4.1.2, RFC 6531 3.3).

A `Mailbox` has already been parsed: its local-part is unquoted and its domain is in one canonical form, so that two
mailboxes of the same domain always compare equal there. Nothing here looks anything up, and nothing rewrites `%`, `!`
or source routes: the domain is what follows the last unquoted `@` (RFC 5321 3.6.1, RFC 2505).
"""

import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import idna

from mailserver.mail.fault import SyntaxFault

# RFC 5321 4.5.3.1 asks for 64 and 255; bounce addresses of large senders are longer than 64 in practice.
MAX_LOCAL_PART_OCTETS = 255
MAX_DOMAIN_OCTETS = 253
MAX_LABEL_OCTETS = 63

# RFC 5322 3.2.3, and RFC 6531 3.3 which adds everything beyond ASCII.
_ATEXT = r"A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\x80-\U0010ffff"
_DOT_STRING = re.compile(rf"[{_ATEXT}]+(?:\.[{_ATEXT}]+)*\Z")
_UNQUOTED = re.compile(rf"[.{_ATEXT}]*\Z")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One mailbox. `local_part` is unquoted text, case kept; `domain` is canonical (see `canonical_domain`).

    `domain` is empty only for the bare `postmaster` of RFC 5321 4.5.1.
    """

    local_part: str
    domain: str

    def __str__(self) -> str:
        """The mailbox in RFC 5321 form, quoted where the local-part needs it."""
        local = self.local_part if is_dot_string(self.local_part) else _quoted(self.local_part)
        return f"{local}@{self.domain}" if self.domain else local

    @property
    def is_ascii(self) -> bool:
        """True when the mailbox can be said without SMTPUTF8 (domains always can, as A-labels)."""
        return self.local_part.isascii()

    @property
    def folded(self) -> str:
        """The key under which tables hold this mailbox: everything in lower case, unquoted, NFC."""
        local = self.local_part
        if not local.isascii():
            local = unicodedata.normalize("NFC", local)
        return f"{local.lower()}@{self.domain}"


def is_dot_string(local_part: str) -> bool:
    """True when `local_part` may stand unquoted (RFC 5321 Dot-string, with RFC 6531's non-ASCII)."""
    return _DOT_STRING.match(local_part) is not None


def _quoted(local_part: str) -> str:
    return '"' + local_part.replace("\\", "\\\\").replace('"', '\\"') + '"'


def has_controls(text: str) -> bool:
    """Whether `text` holds C0 or C1 controls, DEL, or the line separators that `str.splitlines` sees."""
    if text.isascii():
        return not text.isprintable()
    return any(char < " " or "\x7f" <= char < "\xa0" or char in "\u2028\u2029" for char in text)


def canonical_domain(text: str) -> str | None:
    """The one form in which a domain is compared and stored; None when `text` is not a domain.

    Names become lower-case A-labels (RFC 5890); address literals `[192.0.2.1]` and `[IPv6:2001:db8::1]` keep their
    brackets and get their shortest spelling. A trailing dot, an empty label and anything over 253 octets are refused.
    Underscores are let through: they are not host names, yet some receivers use them.
    """
    if text.startswith("["):
        return _canonical_literal(text)
    if len(text) > MAX_DOMAIN_OCTETS:
        return None
    if not text.isascii():
        try:
            text = idna.encode(unicodedata.normalize("NFC", text), uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            return None
    text = text.lower()
    if not text or len(text) > MAX_DOMAIN_OCTETS:
        return None
    if all(_LABEL.match(label) for label in text.split(".")):
        return text
    return None


def _canonical_literal(text: str) -> str | None:
    """RFC 5321 4.1.3; general-address-literals of other families do not exist yet and are refused."""
    if not text.endswith("]"):
        return None
    inner = text[1:-1]
    try:
        if inner[:5].lower() == "ipv6:":
            return f"[IPv6:{ipaddress.IPv6Address(inner[5:])}]" if "%" not in inner else None
        return f"[{ipaddress.IPv4Address(inner)}]"
    except ValueError:
        return None


def parse_mailbox(text: str, *, allow_utf8: bool = True) -> Mailbox | SyntaxFault:
    """Read `local-part@domain` as RFC 5321 4.1.2 writes it; the bare word `postmaster` is a mailbox without domain.

    Refused: no domain, a domain that is none, controls anywhere, non-ASCII local-parts unless `allow_utf8`, local-parts
    over 255 octets. Empty atoms (`a..b@`) are let through, because one large network hands out such addresses.
    """
    # The same few addresses come again and again.
    return _read_lately(text, allow_utf8) if len(text) <= _REMEMBERED_LENGTH else _read(text, allow_utf8)


def _read(text: str, allow_utf8: bool) -> Mailbox | SyntaxFault:
    if text.lower() == "postmaster":
        return Mailbox("postmaster", "")
    if has_controls(text):
        return SyntaxFault("control characters are not allowed in an address")
    if not text.isascii() and any("\ud800" <= char < "\ue000" for char in text):
        # Octets of a command line that are not UTF-8 become lone surrogates; no file could hold them.
        return SyntaxFault("the address is not UTF-8 text")
    if text.startswith('"'):
        local, rest = _quoted_local_part(text)
    else:
        at = text.rfind("@")
        local, rest = (text[:at], text[at:]) if at >= 0 else (None, "")
        if local is not None and not _UNQUOTED.match(local):
            local = None
    if local is None or not rest.startswith("@"):
        return SyntaxFault("an address has the form local-part@domain")
    if not local and not text.startswith('"'):
        return SyntaxFault("the local-part of the address is empty")
    if len(local.encode("utf-8", "surrogatepass")) > MAX_LOCAL_PART_OCTETS:
        return SyntaxFault("the local-part of the address is too long")
    if not local.isascii():
        if not allow_utf8:
            return SyntaxFault("this address needs SMTPUTF8")
        local = unicodedata.normalize("NFC", local)
    domain = canonical_domain(rest[1:])
    if domain is None:
        return SyntaxFault("the domain of the address is not valid")
    return Mailbox(local, domain)


_REMEMBERED_LENGTH = 320
_read_lately = lru_cache(maxsize=2048)(_read)


def _quoted_local_part(text: str) -> tuple[str | None, str]:
    """Unquote the Quoted-string at the start of `text`; returns it and what follows, or None when it never ends."""
    out: list[str] = []
    position = 1
    while position < len(text):
        char = text[position]
        if char == '"':
            return "".join(out), text[position + 1 :]
        if char == "\\":
            position += 1
            if position == len(text):
                break
            char = text[position]
        out.append(char)
        position += 1
    return None, ""
