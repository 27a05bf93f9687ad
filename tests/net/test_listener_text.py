"""What a listener string says, and what is told of a wrong one."""

from ipaddress import ip_address

import pytest

from mailserver.config import Listener
from mailserver.mail.fault import SyntaxFault
from mailserver.net.listener_text import check_listener, read_listener


@pytest.mark.parametrize(
    ("text", "listener"),
    [
        ("tcp:25", Listener(25)),
        ("tcp:port=25", Listener(25)),
        ("tcp:0", Listener(0)),
        ("tcp:25:backlog=50", Listener(25)),
        ("tcp:2525:interface=127.0.0.1", Listener(2525, ip_address("127.0.0.1"))),
        (r"tcp:2525:interface=\:\:1", Listener(2525, ip_address("::1"))),
        ("tcp6:25", Listener(25, ip_address("::"))),
        (r"tcp6:25:interface=2001\:db8\:\:1", Listener(25, ip_address("2001:db8::1"))),
        (r"tcp6:25:interface=fe80\:\:1%eth0", Listener(25, ip_address("fe80::1%eth0"))),
        ("unix:/run/x.sock", Listener(path="/run/x.sock")),
        ("unix:/run/x.sock:mode=660", Listener(path="/run/x.sock")),
        ("unix:address=/run/x.sock:lockfile=0", Listener(path="/run/x.sock")),
        (r"unix:/run/a\:b", Listener(path="/run/a:b")),
        ("systemd:domain=INET6:index=0", Listener()),
        ("systemd:INET:0", Listener()),
        ("systemd:domain=UNIX:name=smtp", Listener()),
        ("haproxy:tcp:25", Listener(25, is_proxied=True)),
        (r"haproxy:tcp:25:interface=\:\:1", Listener(25, ip_address("::1"), is_proxied=True)),
        ("haproxy:unix:/run/x.sock", Listener(path="/run/x.sock", is_proxied=True)),
    ],
)
def test_what_is_understood(text, listener):
    assert check_listener(text) == listener


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "kinds are tcp, tcp6, unix, systemd, haproxy"),
        ("25", 'did you mean "tcp:25"?'),
        ("smtp:25", "kinds are"),
        ("tcp", "must have a port from 0 to 65535"),
        ("tcp:", "must have a port"),
        ("tcp:smtp", "must have a port"),
        ("tcp:-1", "must have a port"),
        ("tcp:65536", "must have a port"),
        ("tcp:2_5", "must have a port"),
        ("tcp:２５", "must have a port"),
        ("tcp:25:50", "means nothing: '50'"),
        ("tcp:25:interface=localhost", "must have an IP address"),
        ("tcp:25:interface=::1", r"write each colon of an IPv6 address as \:"),
        ("tcp:25:interfaces=127.0.0.1", "unknown part 'interfaces'; tcp takes port, interface, backlog"),
        ("tcp:25:port=26", "says port twice"),
        ("tcp:25:backlog=many", "whole number as backlog"),
        ("tcp6:25:interface=127.0.0.1", "must have an IPv6 address"),
        ("tcp:25\\", "must not end with a backslash"),
        ("tls:465", "the server itself adds TLS"),
        ("ssl:465:privateKey=x", "the server itself adds TLS"),
        ("unix:run/x.sock", "whole path"),
        ("unix:", "whole path"),
        ("unix:/" + "x" * 107, "at most 107 octets"),
        ("unix:/run/x.sock:mode=rw", "octal mode"),
        ("unix:/run/x.sock:mode=888", "octal mode"),
        ("systemd:index=0", "must say domain="),
        ("systemd:domain=INET6", "either index= or name="),
        ("systemd:domain=INET6:index=0:name=x", "either index= or name="),
        ("systemd:domain=INET6:index=first", "whole number as index"),
        ("haproxy", "must name what is behind the proxy"),
        ("haproxy:tcp", "must have a port"),
        ("haproxy:haproxy:tcp:25", "once"),
        ("haproxy:tls:25", "the server itself adds TLS"),
    ],
)
def test_what_is_refused_and_how_it_is_told(text, reason):
    fault = check_listener(text)
    assert isinstance(fault, SyntaxFault)
    assert reason in fault.reason


def test_the_interface_of_a_plain_listener_is_every_address():
    assert read_listener("tcp:25").address is None
