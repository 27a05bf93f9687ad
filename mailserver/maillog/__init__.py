"""The closed list of events an operator may grep or count, and how each reads as one line.

Every event is a frozen value; `line()` gives `<queue id> <word> [<peer>] ...` in the field's words, queue id first
where there is one, the peer's address in brackets before any text the peer controls. Peer-supplied text is escaped.
Nothing here ever holds a password or content. `service` installs the sink; tests collect events in a list.

Events go two ways: into the log, as lines, and into the journal behind `mailserver why`, as facts. What only one of the
two wants is marked: whole events with `is_history_only` or `is_log_only`, single fields with `HISTORY`.
"""

from mailserver.maillog.arrival import (
    Accepted,
    Authenticated,
    Filed,
    Queued,
    Refused,
    Weighed,
)
from mailserver.maillog.clients import (
    Disconnected,
    Folded,
    LoginRefused,
    LoginSucceeded,
)
from mailserver.maillog.event import (
    MailEvent,
    Sink,
    nowhere,
)
from mailserver.maillog.maildrop import (
    Erased,
    Fetched,
    MaildropClosed,
)
from mailserver.maillog.outward import (
    DestinationBack,
    DestinationDown,
    Ipv4First,
    LookedUp,
    QueueFileDamaged,
    SentInClear,
    SetAside,
    StsNotFetched,
    StsPolicyLearned,
    Talked,
    TlsMissing,
    TlsTrial,
    Tried,
)
from mailserver.maillog.process import (
    CertificateFailed,
    CertificateObtained,
    CertificateRenewed,
    DkimKeyChanged,
    DoctorLooked,
    NeighborBack,
    NeighborDown,
    Reloaded,
    ReloadRefused,
    Started,
    Stopping,
    Trouble,
)
from mailserver.maillog.queue import (
    BouncedEvent,
    DeferredEvent,
    Expanded,
    Held,
    Ordered,
    Released,
    Removed,
    ReportDropped,
    ReportMade,
    Sent,
    Suppressed,
    Unsuppressed,
)
from mailserver.maillog.reports import ReportNotRead, ReportRead, ReportsSent

__all__ = [
    "Accepted",
    "Authenticated",
    "BouncedEvent",
    "CertificateFailed",
    "CertificateObtained",
    "CertificateRenewed",
    "DeferredEvent",
    "DestinationBack",
    "DestinationDown",
    "Disconnected",
    "DkimKeyChanged",
    "DoctorLooked",
    "Erased",
    "Expanded",
    "Fetched",
    "Filed",
    "Folded",
    "Held",
    "Ipv4First",
    "LoginRefused",
    "LoginSucceeded",
    "LookedUp",
    "MailEvent",
    "MaildropClosed",
    "NeighborBack",
    "NeighborDown",
    "Ordered",
    "QueueFileDamaged",
    "Queued",
    "Refused",
    "Released",
    "ReloadRefused",
    "Reloaded",
    "Removed",
    "ReportDropped",
    "ReportMade",
    "ReportNotRead",
    "ReportRead",
    "ReportsSent",
    "Sent",
    "SentInClear",
    "SetAside",
    "Sink",
    "Started",
    "Stopping",
    "StsNotFetched",
    "StsPolicyLearned",
    "Suppressed",
    "Talked",
    "TlsMissing",
    "TlsTrial",
    "Tried",
    "Trouble",
    "Unsuppressed",
    "Weighed",
    "nowhere",
]
