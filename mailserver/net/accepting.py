"""Taking connections from a listening socket, also when there are no descriptors left for them.

Twisted's own port closes everybody who waits in the queue then, legitimate or not, and writes several lines for each.
This one leaves them in the queue of the kernel, lets somebody make room, and looks again a moment later.
"""

import errno
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.tcp import Port
from twisted.logger import Logger

from mailserver.net.server_transport import QuickServer

# A round takes so many connections before everybody else gets a turn: a flood of them must not hold up those who talk.
ACCEPTS_EACH_ROUND = 32
# For so long nobody is taken when there are no descriptors; the kernel keeps those who come.
PAUSE_S = 0.1

_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log = Logger()


def _nobody(reason: str) -> None:
    del reason


@dataclass(slots=True)
class Shortage:
    """Whom to tell that a connection could not be taken, and why; it may let others go."""

    tell: Callable[[str], None] = _nobody


class PatientPort(Port):
    """A TCP port on a socket that listens already."""

    transport = QuickServer
    # A reactor that keeps time as well; Twisted's port promises less.
    reactor: Any
    _shortage: Shortage

    @classmethod
    def adopt(
        cls, reactor: Any, listening: socket.socket, factory: IProtocolFactory, shortage: Shortage
    ) -> "PatientPort":
        """Serve a duplicate of `listening`, which must not block."""
        # As `reactor.adoptStreamPort` does, which knows no other port than Twisted's.
        port: PatientPort = cls._fromListeningDescriptor(  # type: ignore[no-untyped-call]
            reactor, listening.fileno(), listening.family, factory
        )
        port._shortage = shortage
        if listening.family in (socket.AF_INET, socket.AF_INET6):
            # Linux hands it on to every connection.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        port.startListening()
        return port

    def doRead(self) -> None:
        """Somebody waits to be taken."""
        for _ in range(ACCEPTS_EACH_ROUND):
            try:
                connection, address = self.socket.accept()
            except BlockingIOError:
                return
            except OSError as trouble:
                if trouble.errno in _SHORT:
                    self._pause(trouble)
                    return
                # ECONNABORTED, EPERM from a packet filter and their like concern this one client.
                continue
            self._serve(connection, address)

    def _serve(self, connection: socket.socket, address: Any) -> None:
        try:
            protocol = self.factory.buildProtocol(self._buildAddr(address))  # type: ignore[union-attr, no-untyped-call]
            if protocol is None:
                connection.close()
                return
            number = self.sessionno
            self.sessionno = number + 1
            transport = self.transport(connection, protocol, address, self, number, self.reactor)
            protocol.makeConnection(transport)
        except Exception:  # noqa: BLE001 - a mistake of ours ends this connection, never the listener
            _log.failure("a new connection broke")
            connection.close()

    def _pause(self, trouble: OSError) -> None:
        # The socket stays readable, so the reactor would call again at once, for ever.
        self.stopReading()  # type: ignore[no-untyped-call]
        self.reactor.callLater(PAUSE_S, self._go_on)
        self._shortage.tell(os.strerror(trouble.errno or 0))

    def _go_on(self) -> None:
        if self.connected and not self.disconnecting:
            self.startReading()  # type: ignore[no-untyped-call]
