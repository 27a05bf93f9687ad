"""What each listener serves: which conversation, under which limits and deadlines.

Two groups share their limits: everything that speaks SMTP, and everything that speaks POP3.
"""

from dataclasses import replace
from typing import Any

from twisted.internet.interfaces import IProtocolFactory

from mailserver.config import BareNewlines, Config, Listener
from mailserver.mail import pop3_reply
from mailserver.mail import reply as replies
from mailserver.mail.peer import Peer
from mailserver.maillog import Sink, Trouble
from mailserver.net.admission import GuestList
from mailserver.net.conversation import Conversation
from mailserver.net.deadlines import Timeouts
from mailserver.net.factory import ConversationFactory
from mailserver.net.listener_text import check_listener
from mailserver.net.listeners import BoundListener
from mailserver.net.pop3_conversation import Pop3Conversation
from mailserver.net.smtp_conversation import SmtpConversation
from mailserver.net.tls import ServerTls
from mailserver.net.turns import Turns
from mailserver.policy.limits import Admission, ConnectionLimits, LoginGuesses
from mailserver.ports import Clock
from mailserver.session.pop3_server import Pop3Doors, Pop3Session, Pop3Settings
from mailserver.session.smtp_profile import (
    SMTP,
    SUBMISSION,
    SUBMISSIONS,
    Profile,
    SmtpDoors,
    SmtpSettings,
    commands_for,
)
from mailserver.session.smtp_server import SmtpSession
from mailserver.wire.pop3_server import Pop3Server

# When there is no descriptor for one more connection, this share of the idle strangers goes.
SHARE_SENT_AWAY = 0.1
# Descriptors that are no clients'.
KEPT_FREE = 256
SHORTAGE_TOLD_EACH_S = 60.0


class FrontDesk:
    """Makes the factory of every listener."""

    def __init__(
        self,
        config: Config,
        reactor: Any,
        clock: Clock,
        tls: ServerTls,
        smtp: SmtpDoors,
        pop3: Pop3Doors,
        log: Sink,
        *,
        descriptors: int,
    ) -> None:
        """`descriptors`: how many files and connections the process may have open."""
        self._reactor = reactor
        self._clock = clock
        self._tls = tls
        self._log = log
        self._turns = Turns(clock)
        self._shortage_told_at = float("-inf")
        self._smtp = smtp
        self._pop3 = pop3
        self._profiles = {
            "smtp": replace(SMTP, offers_auth=config.smtp.auth),
            "submission": SUBMISSION,
            "submissions": SUBMISSIONS,
        }
        self._smtp_settings = SmtpSettings(
            hostname=config.hostname,
            max_message_octets=config.smtp.max_message_size,
            max_recipients=config.smtp.max_recipients,
            max_commands=commands_for(config.smtp.max_recipients),
            max_errors=config.smtp.max_errors,
            trusted_networks=config.smtp.trusted_networks,
            auth_without_tls=config.submission.auth_without_tls,
            repairs_bare_newlines=config.submission.bare_newlines is BareNewlines.REPAIR,
        )
        self._pop3_settings = Pop3Settings(config.hostname, config.pop3.auth_without_tls)
        self._smtp_timeouts = Timeouts(config.smtp.command_timeout, config.smtp.data_timeout, config.smtp.min_rate)
        self._pop3_timeouts = Timeouts(config.pop3.idle_timeout, config.pop3.idle_timeout)
        smtp_places, pop3_places = places(config.smtp.max_connections, config.pop3.max_connections, descriptors)
        self._smtp_guests = _guests(
            smtp_places,
            config.smtp.max_connections_per_client,
            replies.TOO_MANY_CONNECTIONS.encode(),
        )
        self._pop3_guests = _guests(
            pop3_places,
            config.pop3.max_connections_per_client,
            pop3_reply.TOO_MANY_CONNECTIONS.encode(),
        )

    @property
    def guest_lists(self) -> tuple[GuestList, GuestList]:
        """Everybody who is connected."""
        return self._smtp_guests, self._pop3_guests

    def factory(self, bound: BoundListener) -> IProtocolFactory:
        """What serves this listener, implicit TLS included."""
        listener = check_listener(bound.text)
        is_proxied = isinstance(listener, Listener) and listener.is_proxied
        if bound.service in self._profiles:
            factory = self._smtp_factory(self._profiles[bound.service], is_proxied)
        else:
            factory = self._pop3_factory(bound.service, is_proxied)
        bound.shortage.tell = self.run_short
        return self._tls.wrap(factory, self._reactor) if factory.is_implicit_tls else factory

    def run_short(self, reason: str) -> None:
        """There are no descriptors for one more connection: idle strangers go, so that files can be opened as well."""
        gone = sum(guests.send_away(SHARE_SENT_AWAY) for guests in self.guest_lists)
        now = self._clock.monotonic()
        if now - self._shortage_told_at >= SHORTAGE_TOLD_EACH_S:
            self._shortage_told_at = now
            self._log(Trouble("", "connections", reason, f"newcomers wait; {gone} idle ones had to go"))

    def _smtp_factory(self, profile: Profile, is_proxied: bool) -> ConversationFactory:
        def make(peer: Peer) -> Conversation:
            session = SmtpSession(profile, peer, self._smtp_settings, self._smtp)
            return SmtpConversation(
                profile.name,
                session.machine,
                session,
                peer,
                self._smtp_timeouts,
                self._clock,
                self._log,
                self._smtp_guests,
                self._turns,
                self._tls,
                is_implicit_tls=profile.is_implicit_tls,
            )

        return ConversationFactory(
            profile.name,
            make,
            self._smtp_guests,
            {
                Admission.TOO_MANY: replies.TOO_MANY_CONNECTIONS.encode(),
                Admission.TOO_MANY_OF_CLIENT: replies.TOO_MANY_OF_CLIENT.encode(),
            },
            self._clock,
            self._log,
            is_implicit_tls=profile.is_implicit_tls,
            is_proxied=is_proxied,
        )

    def _pop3_factory(self, service: str, is_proxied: bool) -> ConversationFactory:
        is_implicit_tls = service == "pop3s"
        settings = replace(self._pop3_settings, offers_tls=not is_implicit_tls)

        def make(peer: Peer) -> Conversation:
            return Pop3Conversation(
                service,
                Pop3Server(),
                Pop3Session(settings, peer, self._pop3),
                peer,
                self._pop3_timeouts,
                self._clock,
                self._log,
                self._pop3_guests,
                self._turns,
                self._tls,
                is_implicit_tls=is_implicit_tls,
            )

        words = pop3_reply.TOO_MANY_CONNECTIONS.encode()
        return ConversationFactory(
            service,
            make,
            self._pop3_guests,
            {Admission.TOO_MANY: words, Admission.TOO_MANY_OF_CLIENT: words},
            self._clock,
            self._log,
            is_implicit_tls=is_implicit_tls,
            is_proxied=is_proxied,
        )


def places(smtp: int, pop3: int, descriptors: int) -> tuple[int, int]:
    """How many connections of each group fit: all that are wished for, or what the limit of open files leaves.

    Descriptors for files, name servers and outgoing connections are kept free, or mail that a client was let in with
    could not be stored.
    """
    free = max(descriptors // 2, descriptors - KEPT_FREE)
    if smtp + pop3 <= free:
        return smtp, pop3
    return max(1, smtp * free // (smtp + pop3)), max(1, pop3 * free // (smtp + pop3))


def login_guesses(config: Config) -> LoginGuesses:
    """One memory of wrong passwords for all services: who guesses at one is slowed at all."""
    return LoginGuesses(
        slow_after=config.auth.slow_after,
        max_failures=config.auth.max_failures,
        exempt=config.auth.exempt_networks,
    )


def _guests(max_connections: int, max_per_client: int, busy: bytes) -> GuestList:
    return GuestList(ConnectionLimits(max_connections=max_connections, max_per_client=max_per_client), busy)
