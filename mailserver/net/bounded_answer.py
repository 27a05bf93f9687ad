"""Holds what Twisted's HTTP client takes from a server within bounds.

Its parser keeps every field of an answer, however many come: a server that sends fields without end takes gigabytes in
seconds. So the octets of a connection are counted below the parser.
"""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionClosed
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure

# More than all fields of any honest answer.
_FIELDS_OCTETS = 64 * 1024


def connect_bounded(endpoint: Any, factory: Any, body_octets: int) -> "Deferred[Any]":
    """As `endpoint.connect(factory)`, for one answer whose body has so many octets at most.

    A connection that brings more than fields and such a body (in chunks, too) is closed.
    """
    bounding = _Bounding(factory)  # type: ignore[no-untyped-call]  # Twisted's
    bounding.noisy = factory.noisy
    bounding.body_octets = body_octets
    # Whoever asks wants its own protocol.
    connecting: Deferred[Any] = endpoint.connect(bounding)
    return connecting.addCallback(lambda wrapper: wrapper.wrappedProtocol)


class _Counting(ProtocolWrapper):
    """Passes everything on until it is too much."""

    transport: Any
    _left = _FIELDS_OCTETS
    _has_fields = False
    _tail = b""

    def dataReceived(self, data: bytes) -> None:
        if self._left < 0:
            return
        if not self._has_fields:
            seen = self._tail + data
            self._tail = seen[-2:]
            # The parser takes lines with LF alone.
            if b"\n\r\n" in seen or b"\n\n" in seen:
                self._has_fields = True
                self._left += 2 * self.factory.body_octets
        self._left -= len(data)
        if self._left < 0:
            self.transport.abortConnection()
        else:
            super().dataReceived(data)  # type: ignore[no-untyped-call]  # Twisted's

    def connectionLost(self, reason: Failure = Failure(ConnectionClosed())) -> None:  # noqa: B008 - Twisted's signature
        if self._left < 0:
            reason = Failure(ConnectionClosed("its answer is too long"))
        super().connectionLost(reason)  # type: ignore[no-untyped-call]  # Twisted's


class _Bounding(WrappingFactory):
    protocol = _Counting
    body_octets = 0
