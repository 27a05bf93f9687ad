"""The end of a connection: why, in words for the log, and whether the client has got what was written."""

import fcntl
import struct
import termios
from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

CLOSED_BY_CLIENT = "closed by the client"


def why_it_ended(reason: Failure) -> str:
    """One line without the names of exceptions, where we know them."""
    if reason.check(ConnectionDone):
        return CLOSED_BY_CLIENT
    if reason.check(ConnectionLost):
        return "connection lost"
    if isinstance(reason.value, SSL.Error):
        return f"TLS failed: {_tls_reason(reason.value)}"
    return f"{reason.type.__name__ if reason.type else 'failure'}: {reason.getErrorMessage()}"


def _tls_reason(error: SSL.Error) -> str:
    """pyOpenSSL gives a list of `(library, function, reason)`, or a number and a text."""
    found = error.args[0] if error.args else ()
    if isinstance(found, list | tuple):
        return ", ".join(str(one[-1]) for one in found if one) or "the connection broke"
    return str(error.args[-1])


def unsent_octets(transport: Any) -> int:
    """What the kernel holds that the other side has not acknowledged; 0 where that cannot be known.

    `transport` is any of Twisted's (Any: none of its interfaces has `fileno`, all real ones do).
    """
    try:
        answer = fcntl.ioctl(transport.fileno(), termios.TIOCOUTQ, bytes(struct.calcsize("i")))
    except (AttributeError, OSError, ValueError):
        return 0  # a transport without a descriptor (in tests), or one that is closed already
    count: int = struct.unpack("i", answer)[0]
    return count
