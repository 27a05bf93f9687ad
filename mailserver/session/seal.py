"""What stands before a content and can only be written when its body has been seen: verdicts, and signatures.

A content that is held in memory gets its fields when it is whole. A larger one is on its way to the disk long before,
behind a place kept free for them: `room` says what stands there until then, and `finish` fills it to the octet. So
nothing is written twice and nothing large is held, whatever is signed or checked.
"""

from mailserver.mail.reply import Reply
from mailserver.policy.dkim.sign import Signing
from mailserver.session.authentication import Findings, MessageAuthentication
from mailserver.session.signing import Signer

# What the verdicts of one message may take in a content that is streamed.
RESULTS_ROOM_OCTETS = 2048
_LINES = 3
_MAX_LINE_OCTETS = 990


class Seal:
    """For one message: either what is found out about a stranger's, or the signatures of our own."""

    def __init__(
        self,
        received: bytes,
        *,
        authentication: MessageAuthentication | None = None,
        signer: Signer | None = None,
        signing: Signing | None = None,
    ) -> None:
        """`received` is the Received field that goes with it."""
        self._received = received
        self._authentication = authentication
        self._signer = signer
        self._signing = signing
        self._room = 0
        # After `finish`, of a stranger's message.
        self.findings: Findings | None = None

    @property
    def refusal(self) -> Reply | None:
        """After `finish`: why the message is refused; None when it is not."""
        return None if self.findings is None else self.findings.refusal

    def body(self, piece: bytes) -> None:
        """The next octets of the body, CRLF line ends, cut anywhere."""
        if self._authentication is not None:
            self._authentication.body(piece)
        if self._signing is not None:
            self._signing.body(piece)

    def room(self) -> bytes:
        """As many octets and line ends as `finish` will give from now on."""
        if self._authentication is not None:
            self._room = RESULTS_ROOM_OCTETS
            return b"\0" * (self._room - 2 * _LINES) + b"\r\n" * _LINES + self._received
        return self._received + (b"" if self._signing is None else self._signing.room())

    async def finish(self) -> bytes:
        """All that stands before the content, when that is at its end. Raises `Overloaded`."""
        if self._authentication is not None:
            self.findings = await self._authentication.finish()
            if not self._room:
                return self._authentication.field(self.findings) + self._received
            field = self._authentication.field(self.findings, self._room - 2 * _LINES)
            return fitted(field, self._room) + self._received
        if self._signer is not None and self._signing is not None:
            return self._received + await self._signer.fields(self._signing)
        return self._received


def fitted(field: bytes, octets: int) -> bytes:
    """The field in this many octets and in `_LINES` lines: folded anew where it has blanks, with more of them before
    the ends of its lines, where they say nothing (RFC 5322 3.2.2).
    """
    text = b" ".join(field.split())
    missing = octets - len(text) - len(b"\r\n") * _LINES
    assert missing >= 0, "a field without room"
    lines: list[bytes] = []
    for count in range(_LINES, 1, -1):
        # The last blank before an equal share of what is left, or the first one at all.
        place = text.rfind(b" ", 1, max(2, len(text) // count))
        place = text.find(b" ", 1) if place < 0 else place
        lines.append(text[:place])
        text = text[place:]
    lines.append(text)
    for index, line in enumerate(lines):
        blanks = min(missing, _MAX_LINE_OCTETS - len(line))
        lines[index] = line + b" " * blanks
        missing -= blanks
    return b"\r\n".join(lines) + b"\r\n"
