"""What a conversation asks of the parts it is put together from."""

from typing import TYPE_CHECKING, Protocol

from mailserver.ports import TlsDetails

if TYPE_CHECKING:
    from mailserver.net.conversation import Conversation


class Machine(Protocol):
    """What SMTP's and POP3's machine have in common."""

    def receive(self, octets: bytes) -> None:
        """Store octets."""

    def tls_started(self) -> None:
        """Forget everything."""

    @property
    def has_buffered_octets(self) -> bool:
        """Whether octets wait that no event was made of."""


class Session(Protocol):
    """What SMTP's and POP3's session have in common."""

    def tls_started(self, details: TlsDetails) -> None:
        """The handshake is done."""

    def lost(self, reason: str) -> None:
        """The connection is gone."""

    @property
    def is_stranger(self) -> bool:
        """Whether nobody has logged in."""

    @property
    def is_waiting(self) -> bool:
        """Whether the answer is held back on purpose, as from one who guesses passwords."""


class Membership(Protocol):
    """What the list of those who are connected wants to know (see `admission`)."""

    def entered(self, conversation: "Conversation") -> None:
        """The connection is there."""

    def left(self, conversation: "Conversation") -> None:
        """The connection is gone."""

    def holds(self, conversation: "Conversation", octets: int) -> None:
        """So much of its content is in memory now."""
