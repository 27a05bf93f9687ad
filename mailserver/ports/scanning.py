"""A filter beside us that reads whole messages and says what it thinks of them."""

from collections.abc import Awaitable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from mailserver.mail.dns import IpAddress
from mailserver.ports.storage import StoredContent


class ScanAction(Enum):
    """What the filter would do."""

    TAKE = "take"
    JUNK = "junk"
    DEFER = "defer"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """What is known about a message beside its content. Texts are as the client said them; empty for unknown.

    `host_name` is the client's name in DNS, which leads back to its address.
    """

    queue_id: str
    client: IpAddress | None
    hello: str
    host_name: str
    reverse_path: str
    recipients: tuple[str, ...]
    login: str = ""


@dataclass(frozen=True, slots=True)
class Scanned:
    """What the filter says. All texts are printable ASCII and bounded.

    `word` is the filter's own word for the action; `required` the score from which on a message is junk for it.
    `symbols` are what it found with what each counts, the heaviest first. `fields` are header fields that it wants to
    see in the message.
    """

    action: ScanAction
    word: str
    score: float = 0.0
    required: float = 0.0
    symbols: tuple[tuple[str, float], ...] = ()
    message: str = ""
    fields: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        """`add header 8.10/6.00 BAYES_SPAM(5.10) MIME_BAD(3.00)`, as log and journal have it."""
        symbols = "".join(f" {name}({score:.2f})" for name, score in self.symbols[:8])
        return f"{self.word} {self.score:.2f}/{self.required:.2f}{symbols}"


@dataclass(frozen=True, slots=True)
class NotScanned:
    """It did not look. `is_down`: because it does not work, and not because it need not."""

    reason: str
    is_down: bool = False


class Scanner(Protocol):
    """Asks the filter. Never raises for what it does or does not answer."""

    def scan(self, request: ScanRequest, content: bytes | StoredContent) -> Awaitable[Scanned | NotScanned]:
        """Answers within a bounded time. The content is only read; its line ends may be LF."""
