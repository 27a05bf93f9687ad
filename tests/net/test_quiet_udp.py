"""A UDP port without log lines, on the real reactor."""

import io

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import globalLogPublisher, textFileLogObserver

from mailserver.net.quiet_udp import listen_udp


class Echo(DatagramProtocol):
    def __init__(self):
        self.came = Deferred()

    def datagramReceived(self, datagram, addr):
        self.came.callback(datagram)


@pytest_twisted.ensureDeferred
async def test_datagrams_come_and_the_log_says_nothing():
    file = io.StringIO()
    observer = textFileLogObserver(file)
    globalLogPublisher.addObserver(observer)
    try:
        protocol = Echo()
        port = listen_udp(reactor, protocol, "127.0.0.1", 8192)
        protocol.transport.write(b"hello", (port.getHost().host, port.getHost().port))
        assert await protocol.came == b"hello"
        await port.stopListening()
    finally:
        globalLogPublisher.removeObserver(observer)
    assert file.getvalue() == ""
