"""Writing past the poller: only where nothing waits, and never past TLS."""

import pytest
from twisted.internet.error import ConnectionLost
from twisted.internet.tcp import Client, Server

from mailserver.net.sending import send


def transport_of(kind, *, taken=6, waits=b"", is_tls=False):
    transport = kind.__new__(kind)
    transport.dataBuffer, transport._tempDataBuffer, transport.TLS = waits, [], is_tls
    transport.at_once, transport.later = [], []

    def write_some(octets):
        transport.at_once.append(octets)
        return taken

    transport.writeSomeData, transport.write = write_some, transport.later.append
    return transport


@pytest.mark.parametrize("kind", [Server, Client])
@pytest.mark.parametrize(("taken", "left"), [(6, []), (4, [b"ef"]), (0, [b"abcdef"]), (ConnectionLost(), [b"abcdef"])])
def test_what_the_kernel_does_not_take_at_once_goes_the_transports_way(kind, taken, left):
    transport = transport_of(kind, taken=taken)
    send(transport, b"abcdef")
    assert (transport.at_once, transport.later) == ([b"abcdef"], left)


@pytest.mark.parametrize("about", [{"waits": b"older"}, {"is_tls": True}])
def test_nothing_overtakes_older_octets_or_tls(about):
    transport = transport_of(Client, **about)
    send(transport, b"abcdef")
    assert (transport.at_once, transport.later) == ([], [b"abcdef"])
