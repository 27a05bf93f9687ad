"""The transport of an accepted connection: Twisted's, with shorter ways for octets and to its end.

Twisted's own asks the poller whether the socket can be written before it closes it, also when nothing is left to write,
and shuts down what it closes anyway: three system calls and a turn of the reactor more for each connection
(docs/performance.md).
"""

from typing import Any

from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.tcp import Server


class QuickServer(Server):
    """Closes at the end of the read in which it was told to, when everything that was written is with the kernel."""

    # Twisted tells nothing of these.
    connected: Any
    disconnecting: Any
    socket: Any
    _is_in_read = False
    _is_over = False
    # Nobody else holds the socket, so closing it is enough.
    _shouldShutdown = False

    def doRead(self) -> Any:
        """Octets, or the end of them, are there."""
        try:
            data = self.socket.recv(self.bufferSize)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        self._is_in_read = True
        try:
            self.protocol.dataReceived(data)
        finally:
            self._is_in_read = False
        if not self._is_over:
            return None
        if self._has_unsent():
            # Written behind the call that ends the connection: it goes out first.
            self._is_over, self.disconnecting = False, 0
            super().loseConnection()  # type: ignore[no-untyped-call]
            return None
        # The reason nobody looks at: who closes itself knows why. Twisted takes "done" for the client's half alone.
        return CONNECTION_LOST

    def loseConnection(self) -> None:
        """Close when what was written is out."""
        if not self._is_in_read or not self.connected or self.disconnecting or self._has_unsent():
            super().loseConnection()  # type: ignore[no-untyped-call]
        else:
            self._is_over, self.disconnecting = True, 1

    def _has_unsent(self) -> bool:
        """Whether anything but the kernel holds octets, or may hold them."""
        return bool(self.TLS or self._writeDisconnected or self.producer or self.dataBuffer or self._tempDataBuffer)
