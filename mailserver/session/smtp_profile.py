"""What an SMTP session is given: which kind of listener it serves, the limits in force, and its doors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailserver.config.schema import AuthWithoutTls
from mailserver.mail.ids import QueueId
from mailserver.mail.peer import IpNetwork
from mailserver.maillog import Sink
from mailserver.policy.limits import LoginGuesses
from mailserver.ports import Clock, Committer, Credentials, Directory, MakeSuccessReport
from mailserver.session.authentication import Authentication
from mailserver.session.signing import Signer

if TYPE_CHECKING:
    from mailserver.session.weighing import Weigher


@dataclass(frozen=True, slots=True)
class Profile:
    """What distinguishes the ports. `name` goes into the log.

    `offers_starttls` is False where TLS is there from the start, and where no certificate could be had.
    """

    name: str
    offers_auth: bool
    requires_auth: bool
    offers_starttls: bool
    is_implicit_tls: bool


# Port 25; `offers_auth` follows `[smtp] auth`.
SMTP = Profile("smtp", offers_auth=False, requires_auth=False, offers_starttls=True, is_implicit_tls=False)
# Port 587 (RFC 6409) and port 465 (RFC 8314 3.3).
SUBMISSION = Profile("submission", offers_auth=True, requires_auth=True, offers_starttls=True, is_implicit_tls=False)
SUBMISSIONS = Profile("submissions", offers_auth=True, requires_auth=True, offers_starttls=False, is_implicit_tls=True)


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """From `[smtp]`, `[submission]` and the host name. Times are the driver's business."""

    hostname: str
    max_message_octets: int = 50_000_000
    max_recipients: int = 100
    max_errors: int = 20
    # Commands of one session without a message accepted between them; see `commands_for`.
    max_commands: int = 5_000
    # RFC 5321 6.3 says at least 100.
    max_hops: int = 100
    trusted_networks: tuple[IpNetwork, ...] = ()
    auth_without_tls: AuthWithoutTls = AuthWithoutTls.NEVER
    # `[submission] bare_newlines = "repair"`: for authenticated clients only.
    repairs_bare_newlines: bool = False


def commands_for(max_recipients: int) -> int:
    """How many commands one session may send without a message accepted between them.

    20 messages to 100 recipients fit twice over; whoever raises `max_recipients` gets the commands to name them with.
    """
    return max(5_000, 3 * max_recipients)


@dataclass(frozen=True, slots=True)
class SmtpDoors:
    """Everything of the world that a session asks or tells."""

    directory: Directory
    credentials: Credentials
    committer: Committer
    clock: Clock
    new_queue_id: Callable[[], QueueId]
    log: Sink
    guesses: LoginGuesses
    make_success_report: MakeSuccessReport
    # None: nothing is signed, nobody is checked.
    signer: Signer | None = None
    authentication: Authentication | None = None
    # None: nothing is junk.
    weigher: "Weigher | None" = None
