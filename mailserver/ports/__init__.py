"""The doors between rooms, as `typing.Protocol`.

A room that needs something of the world asks a door; `service` plugs the real thing in, tests a plain fake. Doors that
may wait are typed `-> Awaitable[T]`, so a coroutine and a Deferred both fit. Doors without `Awaitable` answer at once
from memory and never touch disk or network.
"""

from mailserver.ports.accounts import Account, Credentials, Directory
from mailserver.ports.conversations import Answer, Then
from mailserver.ports.maildrops import LargeMessage, Maildrop, MaildropInUse, Maildrops, MessageGone
from mailserver.ports.network import (
    ConnectionFailed,
    Dialer,
    HistoryStore,
    PeerTls,
    Resolver,
    Stream,
    TlsDetails,
    TlsFailed,
    TlsRequirement,
)
from mailserver.ports.outbound import (
    ContentSource,
    Conversation,
    ConversationFactory,
    Destination,
    FindDestination,
    LocalMailboxes,
    NextHop,
    NoDestination,
    NotOpened,
    Opened,
    TlsUse,
    Transmitter,
)
from mailserver.ports.storage import (
    Acceptance,
    Committer,
    ContentWriter,
    Filed,
    LocalCopy,
    MailboxWriter,
    MakeSuccessReport,
    Report,
    Spooler,
    StorageFull,
    StorageTrouble,
    StoredContent,
    SuccessReport,
)
from mailserver.ports.world import Blocking, Cancellable, Clock, Lane, Overloaded

__all__ = [
    "Acceptance",
    "Account",
    "Answer",
    "Blocking",
    "Cancellable",
    "Clock",
    "Committer",
    "ConnectionFailed",
    "ContentSource",
    "ContentWriter",
    "Conversation",
    "ConversationFactory",
    "Credentials",
    "Destination",
    "Dialer",
    "Directory",
    "Filed",
    "FindDestination",
    "HistoryStore",
    "Lane",
    "LargeMessage",
    "LocalCopy",
    "LocalMailboxes",
    "MailboxWriter",
    "Maildrop",
    "MaildropInUse",
    "Maildrops",
    "MakeSuccessReport",
    "MessageGone",
    "NextHop",
    "NoDestination",
    "NotOpened",
    "Opened",
    "Overloaded",
    "PeerTls",
    "Report",
    "Resolver",
    "Spooler",
    "StorageFull",
    "StorageTrouble",
    "StoredContent",
    "Stream",
    "SuccessReport",
    "Then",
    "TlsDetails",
    "TlsFailed",
    "TlsRequirement",
    "TlsUse",
    "Transmitter",
]
