"""What a session answers to an event of a protocol machine, and the connection then does."""

from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")


class Then(Enum):
    """What the connection does after a reply is on its way."""

    CONTINUE = "continue"
    START_TLS = "start_tls"  # only when the input buffer is empty; the machine forgets everything
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A session's answer to one event: the reply, and what follows it.

    `why` tells the log why we close, when it was not the client's wish.
    """

    reply: T
    then: Then = Then.CONTINUE
    why: str = ""
