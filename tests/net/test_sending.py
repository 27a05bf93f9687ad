"""Writing past the poller: only where nothing waits, and never past TLS."""

import pytest
from twisted.internet.tcp import Client, Server

from mailserver.net.sending import send
from mailserver.net.server_transport import QuickServer


class Socket:
    """Takes so many octets of each `send`, or raises."""

    def __init__(self, taken):
        self.taken, self.sent = taken, []

    def send(self, octets):
        self.sent.append(octets)
        if isinstance(self.taken, Exception):
            raise self.taken
        return self.taken


def transport_of(kind, *, taken=6, waits=b"", is_tls=False):
    transport = kind.__new__(kind)
    transport.dataBuffer, transport._tempDataBuffer, transport.TLS = waits, [], is_tls
    transport.socket, transport.later = Socket(taken), []
    transport.write = transport.later.append
    return transport


@pytest.mark.parametrize("kind", [Server, Client, QuickServer])
@pytest.mark.parametrize(
    ("taken", "left"),
    [(6, []), (4, [b"ef"]), (BlockingIOError(), [b"abcdef"]), (ConnectionResetError(), [b"abcdef"])],
)
def test_what_the_kernel_does_not_take_at_once_goes_the_transports_way(kind, taken, left):
    transport = transport_of(kind, taken=taken)
    send(transport, b"abcdef")
    assert (transport.socket.sent, transport.later) == ([b"abcdef"], left)


def test_a_transport_that_is_closed_finds_out_for_itself():
    transport = transport_of(QuickServer)
    del transport.socket
    send(transport, b"abcdef")
    assert transport.later == [b"abcdef"]


@pytest.mark.parametrize("about", [{"waits": b"older"}, {"is_tls": True}])
def test_nothing_overtakes_older_octets_or_tls(about):
    transport = transport_of(Client, **about)
    send(transport, b"abcdef")
    assert (transport.socket.sent, transport.later) == ([], [b"abcdef"])
