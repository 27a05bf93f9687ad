"""The smallest server that mail can be relayed to, in a thread of the test."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.integration.server import HOST


class _Session(socketserver.StreamRequestHandler):
    """It acknowledges what it has remembered."""

    def handle(self) -> None:
        self.wfile.write(b"220 sink.test\r\n")
        for line in self.rfile:
            verb = line[:4].upper().strip()
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                content = bytearray()
                for piece in self.rfile:
                    if piece == b".\r\n":
                        self.server.received.append(bytes(content))
                        self.wfile.write(b"250 taken\r\n")
                        break
                    content += piece.removeprefix(b".")
                else:
                    return
            elif verb == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 fine\r\n")


class NextHop(socketserver.ThreadingTCPServer):
    """`received` lists the contents it took."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int = 0) -> None:
        self.received: list[bytes] = []
        super().__init__((HOST, port), _Session)

    def handle_error(self, request: object, client_address: object) -> None:
        """Our server is killed in mid-conversation again and again: nothing to tell."""


@contextmanager
def next_hop(port: int = 0) -> Iterator[NextHop]:
    """A server on this port, or on a free one."""
    with NextHop(port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
