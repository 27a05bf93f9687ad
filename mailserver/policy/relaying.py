"""May this client send to this recipient? One function with a truth table; without it we would be an open relay.

| route              | stranger      | trusted network | authenticated |
| ------------------ | ------------- | --------------- | ------------- |
| here               | yes           | yes             | yes           |
| elsewhere          | 550 5.7.1     | yes             | yes           |
| unknown mailbox    | 550 5.1.1     | 550 5.1.1       | 550 5.1.1     |
| disabled mailbox   | 550 5.2.1     | 550 5.2.1       | 550 5.2.1     |
| dangling alias     | 550 5.1.1     | 550 5.1.1       | 550 5.1.1     |
| cyclic alias       | 550 5.4.6     | 550 5.4.6       | 550 5.4.6     |

An alias that leads outside counts as *here*: whoever runs the server wrote it. HELO names, reverse-paths and the AUTH
parameter of MAIL are what the client says of itself, so they are no part of the question (RFC 2505 2.1).
"""

from enum import Enum
from typing import assert_never

from mailserver.mail import reply as replies
from mailserver.mail.reply import Reply
from mailserver.policy.routing import (
    CyclicAlias,
    DanglingAlias,
    DisabledMailbox,
    Elsewhere,
    Here,
    Route,
    UnknownMailbox,
)


class Standing(Enum):
    """What we know of a client."""

    STRANGER = "stranger"
    TRUSTED_NETWORK = "trusted network"
    AUTHENTICATED = "authenticated"


def refusal(standing: Standing, route: Route) -> Reply | None:
    """None when the recipient is taken, else the reply to RCPT."""
    match route:
        case Here():
            return None
        case Elsewhere():
            return replies.RELAYING_DENIED if standing is Standing.STRANGER else None
        case UnknownMailbox() | DanglingAlias():
            return replies.NO_SUCH_MAILBOX
        case DisabledMailbox():
            return replies.MAILBOX_DISABLED
        case CyclicAlias():
            return replies.ALIAS_LOOP
    assert_never(route)
