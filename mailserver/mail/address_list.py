"""The addresses in a From field (RFC 5322 3.4), for the question whether they belong to somebody. Nothing is rewritten.

Read strictly, because two readings of one field are how senders are forged: what is not plainly a list of mailboxes
is unreadable, groups too.
"""

from mailserver.mail.address import Mailbox, parse_mailbox

MAX_FIELD_CHARS = 16_384


def mailboxes_in(text: str, *, with_names: bool = False) -> tuple[Mailbox, ...] | None:
    """The mailboxes of a field's unfolded value, at least one; None when it cannot be read.

    `with_names`: also what looks like an address in a name without quotes. In `bob@x.example <alice@y.example>` some
    readers take the first for the address (CVE-2023-27043 was one).
    """
    if len(text) > MAX_FIELD_CHARS:
        return None
    addresses = _Reader(with_names=with_names).read(text)
    if not addresses:
        return None
    found: list[Mailbox] = []
    for address in addresses:
        mailbox = parse_mailbox(address)
        if not isinstance(mailbox, Mailbox) or not mailbox.domain:
            return None
        found.append(mailbox)
    return tuple(found)


class _Reader:
    """Splits at commas outside quotes, comments and angle brackets; keeps the address of each part."""

    def __init__(self, *, with_names: bool) -> None:
        self._with_names = with_names
        self._addresses: list[str] = []
        self._plain: list[str] = []  # the part's text outside angle brackets
        self._bare: list[str] = []  # that without what stands in quotes
        self._angle: list[str] | None = None  # and inside of them
        self._is_in_angle = self._is_quoted = False
        self._comments = 0

    def read(self, text: str) -> list[str] | None:
        chars = iter(text)
        for char in chars:
            if char == "\\" and (self._is_quoted or self._comments):
                char += next(chars, "")
                if len(char) < 2:
                    return None
            if not self._take(char):
                return None
        if self._is_quoted or self._comments or self._is_in_angle or not self._end_part():
            return None
        return self._addresses

    def _take(self, char: str) -> bool:
        """One character, or a backslash with the one behind it; False when the list cannot be read."""
        if self._comments:
            self._comments += {"(": 1, ")": -1}.get(char, 0)
        elif self._is_quoted or char == '"':
            self._is_quoted = self._is_quoted != (char == '"')
            self._keep(char, is_bare=char == '"')
        elif char == "(":
            self._comments = 1
        elif char == "<":
            if self._angle is not None:
                return False
            self._angle = []
            self._is_in_angle = True
            if self._with_names:
                self._addresses.extend(filter(_is_address, "".join(self._bare).split()))
            self._plain.clear()  # the display name
        elif char == ">":
            if not self._is_in_angle:
                return False
            self._is_in_angle = False
        elif char == "," and not self._is_in_angle:
            return self._end_part()
        elif char in ":;" and not self._is_in_angle:
            return False
        else:
            self._keep(char)
        return True

    def _keep(self, char: str, *, is_bare: bool = True) -> None:
        if self._is_in_angle and self._angle is not None:
            self._angle.append(char)
            return
        self._plain.append(char)
        if is_bare:
            self._bare.append(char)

    def _end_part(self) -> bool:
        plain = "".join(self._plain).strip(" \t")
        angle = None if self._angle is None else "".join(self._angle).strip(" \t")
        self._plain.clear()
        self._bare.clear()
        self._angle = None
        if angle is not None:
            self._addresses.append(angle)
            return not plain  # something behind the bracket
        if plain:  # empty parts are allowed (RFC 5322 4.4)
            self._addresses.append(plain)
        return True


def _is_address(word: str) -> bool:
    found = parse_mailbox(word) if "@" in word else None
    return isinstance(found, Mailbox) and bool(found.domain)
