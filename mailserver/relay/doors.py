"""What the queue's runner is given: the doors it uses and the settings it follows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from mailserver.mail.address import Mailbox
from mailserver.mail.domains import most_specific
from mailserver.mail.envelope import Recipient
from mailserver.mail.ids import QueueId
from mailserver.maillog import Sink
from mailserver.policy.holding import HoldRule
from mailserver.ports import Blocking, Clock, FindDestination, MailboxWriter, Transmitter
from mailserver.relay.account_caps import AccountCaps
from mailserver.relay.bounce import Reporter
from mailserver.relay.schedule import Schedule
from mailserver.relay.suppression import Suppressor
from mailserver.store.spool import Spool

_LONGEST_REST_S = 300.0

# Logs a traceback: in a few words what was being done, and the exception.
TellFailure = Callable[[str, BaseException], None]


@dataclass(frozen=True, slots=True)
class RelayDoors:
    """The world as the runner sees it."""

    clock: Clock
    blocking: Blocking
    spool: Spool
    transmitter: Transmitter
    mailboxes: MailboxWriter
    find_destination: FindDestination
    new_queue_id: Callable[[], QueueId]
    random: Random
    sink: Sink
    tell_failure: TellFailure
    suppression: Suppressor | None = None
    caps: AccountCaps | None = None
    # Which folder of a mailbox junk goes to; empty for the inbox.
    junk_folder: Callable[[Mailbox], str] = lambda mailbox: ""


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """What the operator configured; `max_total` attempts at once, all destinations together (slow ones apart).

    `schedules` by canonical domain are for recipients there and below it, `schedule` for all others.
    """

    schedule: Schedule
    reporter: Reporter
    max_per_destination: int = 10
    max_total: int = 200
    hold_rules: tuple[HoldRule, ...] = ()
    keeps_transcripts: bool = False
    schedules: Mapping[str, Schedule] = field(default_factory=dict)

    def schedule_for(self, recipient: Recipient) -> Schedule:
        """The one of the recipient's domain."""
        return most_specific(self.schedules, recipient.mailbox.domain) or self.schedule

    @property
    def longest_rest_s(self) -> float:
        """How long a destination that failed as a whole is left alone at most.

        Never longer than the shortest wait of a message, so that a lone message's own times are kept.
        """
        return min(_LONGEST_REST_S, *(wait for one in (self.schedule, *self.schedules.values()) for wait in one.retry))
