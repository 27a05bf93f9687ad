"""Makes a conversation for each accepted connection, or turns it away politely."""

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, ILoggingContext
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from mailserver.mail.peer import Peer, peer_from
from mailserver.maillog import Disconnected, Sink
from mailserver.net.admission import GuestList
from mailserver.net.conversation import Conversation
from mailserver.policy.limits import Admission
from mailserver.ports import Clock

# A flood of connections must not become a flood of log lines.
_TOLD_EACH_S = 1.0


@implementer(ILoggingContext)
class ConversationFactory(Factory):
    """The factory of one listener. `make` builds the conversation of an admitted peer.

    `turned_away` is what the others hear before we close; with implicit TLS they hear nothing, because a handshake for
    a refusal would cost more than the connection that was refused.
    """

    # The mail log tells what listens; Twisted's own lines would say it again.
    noisy = False

    def __init__(
        self,
        service: str,
        make: Callable[[Peer], Conversation],
        guests: GuestList,
        turned_away: Mapping[Admission, bytes],
        clock: Clock,
        log: Sink,
        *,
        is_implicit_tls: bool,
        is_proxied: bool,
    ) -> None:
        self._service = service
        self._make = make
        self._guests = guests
        self._turned_away = turned_away
        self.is_implicit_tls = is_implicit_tls
        self._clock = clock
        self._log = log
        self._is_proxied = is_proxied
        self._told_at = float("-inf")

    def logPrefix(self) -> str:
        """What Twisted calls this listener in its own lines, such as `smtp starting on 25`."""
        return self._service

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """A conversation, or the protocol that says why not and closes."""
        peer = peer_of(addr, self._is_proxied)
        admission = self._guests.admit(peer)
        if admission is not Admission.ADMITTED:
            self._tell(peer, admission)
            return TurnedAway(b"" if self.is_implicit_tls else self._turned_away[admission])
        return self._make(peer)

    def _tell(self, peer: Peer, admission: Admission) -> None:
        now = self._clock.monotonic()
        if now - self._told_at >= _TOLD_EACH_S:
            self._told_at = now
            self._log(Disconnected(str(peer), self._service, admission.value))


def peer_of(addr: IAddress | None, is_proxied: bool) -> Peer:
    """The client, from its address; a Unix socket has none."""
    if isinstance(addr, IPv4Address | IPv6Address):
        return peer_from(addr.host, addr.port, is_proxied=is_proxied)
    return Peer(None, is_proxied=is_proxied)


class TurnedAway(Protocol):
    """Says its words and closes."""

    # Every transport here can abort, whatever the interface says.
    transport: Any

    def __init__(self, words: bytes) -> None:
        self._words = words

    def connectionMade(self) -> None:
        """Say why, if that can be said in clear."""
        if self._words:
            self.transport.write(self._words)
            self.transport.loseConnection()
        else:
            self.transport.abortConnection()
