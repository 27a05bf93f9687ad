"""One SMTP session as a conversation: an event of the machine in, a reply out, through rules and doors.

No octets and no transport. The driver asks `greet` once and `answer` for every event that wants a reply, hands content
to `content`, and tells `tls_started` and `lost`. An exception out of `answer` is our fault: the driver says
`INTERNAL_ERROR`, closes, and calls `lost`, which leaves nothing behind.
"""

from collections.abc import Awaitable
from typing import assert_never

from mailserver.mail import reply as replies
from mailserver.mail.envelope import Envelope, path_text
from mailserver.mail.peer import Peer
from mailserver.mail.reply import Reply
from mailserver.maillog import Refused
from mailserver.policy.relaying import Standing, refusal
from mailserver.policy.routing import find_route
from mailserver.policy.senders import may_send_as, sending_addresses
from mailserver.ports import Account, Answer, Then, TlsDetails
from mailserver.session.scram_login import listed_mechanisms
from mailserver.session.smtp_acceptance import Arrival, Preparation, Transaction
from mailserver.session.smtp_intake import MessageIntake
from mailserver.session.smtp_login import Login
from mailserver.session.smtp_profile import Profile, SmtpDoors, SmtpSettings
from mailserver.wire.sasl import Challenge, Claim, SaslFault, ScramDone, ScramHello, ScramProof, encode_challenge
from mailserver.wire.smtp_events import (
    Auth,
    Content,
    Data,
    EndOfChunk,
    EndOfContent,
    Faulted,
    Hello,
    Help,
    InjectedOctets,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Reset,
    SmtpEvent,
    StartTls,
    Verify,
)
from mailserver.wire.smtp_server import SmtpServer

_CONTINUE = Then.CONTINUE
# What is answered without waiting for anything.
AtOnce = (
    Hello
    | Mail
    | Rcpt
    | Data
    | Content
    | EndOfChunk
    | Reset
    | Noop
    | Verify
    | Help
    | Quit
    | StartTls
    | InjectedOctets
    | Faulted
)


class SmtpSession:
    """One client on port 25, 587 or 465. `machine` is the wire machine that belongs to it; the driver feeds that."""

    def __init__(self, profile: Profile, peer: Peer, settings: SmtpSettings, doors: SmtpDoors) -> None:
        self.machine = SmtpServer(max_content_octets=settings.max_message_octets, is_tls=profile.is_implicit_tls)
        self._profile = profile
        self._peer = peer
        self._settings = settings
        self._doors = doors
        self._login = Login(profile, peer, settings, doors)
        self._preparation = Preparation(doors, max_hops=settings.max_hops)
        self._intake = MessageIntake(self._preparation, doors)
        self._listed = (
            None
            if doors.weigher is None or profile.requires_auth
            else doors.weigher.listed(peer, settings.trusted_networks)
        )
        self._hello: Hello | None = None
        self._tls: TlsDetails | None = None
        self._transaction: Transaction | None = None
        self._errors = 0
        self._commands = 0
        self._offer_auth()

    @property
    def is_stranger(self) -> bool:
        """True while nobody has logged in; strangers go first when it gets crowded."""
        return self._login.account() is None

    @property
    def is_waiting(self) -> bool:
        """True while the client is kept waiting as one who guesses: nothing of value is lost when it has to go."""
        return self._login.is_waiting

    # --- for the driver -----------------------------------------------------------------------------------------------

    async def greet(self) -> Answer[Reply]:
        """The banner."""
        if self._listed is not None:
            self._listed.begin()
        return Answer(replies.banner(self._settings.hostname))

    async def answer(self, event: SmtpEvent) -> Answer[Reply]:
        """The reply to one event, and what follows it. Not for `Content`."""
        if not isinstance(event, EndOfContent | Auth):
            if isinstance(event, Rcpt) and self._listed is not None:
                await self._listed.settled(self._transaction)
                if self._transaction is None:
                    return Answer(replies.TEMPORARY_TROUBLE)  # nobody is there to hear it
            return self._at_once(event)
        self._commands += 1
        if self._commands > self._settings.max_commands and isinstance(event, Auth):
            return _closing(replies.TOO_MANY_COMMANDS)
        transaction = self._transaction
        return self._noted(event, transaction, await self._in_time(event))

    def answer_at_once(self, event: SmtpEvent) -> Answer[Reply] | None:
        """The same for what needs no waiting; None, and nothing has happened, for what `answer` has to be asked."""
        if isinstance(event, EndOfContent | Auth):
            return None
        if isinstance(event, Rcpt) and self._listed is not None and self._listed.has_to_wait(self._transaction):
            return None
        return self._at_once(event)

    def _at_once(self, event: AtOnce) -> Answer[Reply]:
        self._commands += 1
        # Octets of a message that came with a command have limits of their own.
        if self._commands > self._settings.max_commands and not (isinstance(event, EndOfChunk) and event.chunk_octets):
            return _closing(replies.TOO_MANY_COMMANDS)
        transaction = self._transaction
        return self._noted(event, transaction, self._simple_answer(event))

    def _noted(self, event: SmtpEvent, transaction: Transaction | None, answer: Answer[Reply]) -> Answer[Reply]:
        """Count and log an answer that refuses."""
        if answer.reply.code < 400:
            return answer
        reply = answer.reply
        self._log_refusal(event, transaction, reply)
        if reply.is_permanent:
            self._errors += 1
            if self._errors > self._settings.max_errors:
                reply = replies.TOO_MANY_ERRORS
        # RFC 5321 3.8: 421 is the word before we close.
        return _closing(reply) if reply.code == 421 or answer.then is Then.CLOSE else Answer(reply, answer.then)

    def content(self, piece: Content) -> Awaitable[None] | None:
        """A piece of content. An awaitable means: read nothing more before it is done."""
        assert self._transaction is not None, "content outside of a transaction"
        return self._intake.take(self._transaction, piece.octets)

    def tls_started(self, details: TlsDetails) -> None:
        """The handshake is done; what was said in clear is forgotten (RFC 3207 4.2)."""
        self._tls = details
        self._hello = None
        self._login.forget()
        self._forget_transaction()
        self._offer_auth()

    def lost(self, reason: str) -> None:
        """The connection is gone; what has not been committed is forgotten."""
        del reason  # the driver has logged it
        self._login.hang_up()
        self._forget_transaction()
        if self._listed is not None:
            self._listed.forget()

    def command_timed_out(self) -> Reply:
        """No command came in time."""
        return replies.COMMAND_TIMED_OUT

    def content_timed_out(self) -> Reply:
        """Content stopped coming, or took too long as a whole."""
        return replies.CONTENT_TIMED_OUT

    def content_too_slow(self) -> Reply:
        """Content comes below the floor on the rate."""
        return replies.CONTENT_TOO_SLOW

    def shutting_down(self) -> Reply:
        """The server stops."""
        return replies.SHUTTING_DOWN

    # --- one method for each thing a client can do --------------------------------------------------------------------

    async def _in_time(self, event: EndOfContent | Auth) -> Answer[Reply]:
        if isinstance(event, Auth):
            return Answer(await self._auth(event))
        return Answer(await self._end_of_content(event))

    def _simple_answer(self, event: AtOnce) -> Answer[Reply]:
        match event:
            case Rcpt():
                return Answer(self._rcpt(event))
            case Mail(envelope):
                return Answer(self._mail(envelope))
            case Data():
                return Answer(replies.SEND_CONTENT)
            case EndOfChunk():
                return Answer(self._end_of_chunk(event))
            case Faulted(_, reply, must_close):
                return Answer(reply, Then.CLOSE if must_close else _CONTINUE)
            case StartTls():
                return self._starttls()
            case InjectedOctets():
                return Answer(replies.STARTTLS_INJECTION, Then.CLOSE)
            case Quit():
                self._forget_transaction()
                return Answer(replies.GOODBYE, Then.CLOSE)
            case Hello() | Reset() | Noop() | Verify() | Help():
                return Answer(self._simple(event))
            case Content():
                raise AssertionError("content wants no reply")
        assert_never(event)

    def _simple(self, event: Hello | Reset | Noop | Verify | Help) -> Reply:
        match event:
            case Hello():
                self._forget_transaction()
                self._hello = event
                keywords = self._keywords() if event.is_extended else ()
                return replies.hello_ok(self._settings.hostname, *keywords)
            case Reset():
                self._forget_transaction()
                return replies.RESET_OK
            case Noop():
                return replies.NOOP_OK
            case Verify():
                return replies.VERIFY_NOTHING
            case Help():
                return replies.HELP
        assert_never(event)

    def _keywords(self) -> tuple[str, ...]:
        """What EHLO lists: each is true in this session, at this moment."""
        settings = self._settings
        keywords = [
            "PIPELINING",
            f"SIZE {settings.max_message_octets}",
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
            "DSN",
            "CHUNKING",
            f"LIMITS RCPTMAX={settings.max_recipients}",
        ]
        if self._profile.offers_starttls and self._tls is None:
            keywords.append("STARTTLS")
        if self._tls is not None:
            # RFC 8689 2: only where this hop itself is protected.
            keywords.append("REQUIRETLS")
        if self._login.refusal(self._tls) is None and self._login.account() is None:
            keywords.extend(f"AUTH {one}" for one in listed_mechanisms(self._login.mechanisms(self._tls)))
        return (*keywords, "HELP")

    def _mail(self, envelope: Envelope) -> Reply:
        account = self._login.account()
        if self._profile.requires_auth and account is None:
            return replies.AUTH_REQUIRED if self._login.refusal(self._tls) is None else replies.TLS_REQUIRED
        declared = envelope.size_octets or 0
        if declared > self._settings.max_message_octets:
            return replies.MESSAGE_TOO_BIG
        if not self._doors.committer.has_room(declared):
            return replies.DISK_NEARLY_FULL
        sender = envelope.reverse_path
        directory = self._doors.directory
        # The null reverse-path is everybody's: receipts and answers of machines are sent with it (RFC 5321 4.5.5).
        if account is not None and sender is not None and not may_send_as(account, sender, directory):
            return replies.sender_not_yours(sending_addresses(account, directory))
        self._transaction = Transaction(envelope, self._arrival(account))
        if self._listed is not None:
            self._listed.begin_domains(self._transaction)
        return replies.SENDER_OK

    def _rcpt(self, event: Rcpt) -> Reply:
        transaction = self._transaction
        assert transaction is not None, "RCPT outside of a transaction"
        recipient = event.recipient
        if recipient.mailbox in transaction.routes:
            return replies.RECIPIENT_OK
        route = find_route(recipient.mailbox, self._doors.directory)
        refused = refusal(self._standing(transaction), route)
        if refused is None and self._listed is not None:
            refused = self._listed.refusal(transaction, recipient.mailbox)
        if refused is not None:
            return refused
        if len(transaction.routes) >= self._settings.max_recipients:
            return replies.TOO_MANY_RECIPIENTS
        if not transaction.routes:
            self._preparation.begin_sender_check(transaction)
        transaction.routes[recipient.mailbox] = (recipient, route)
        return replies.RECIPIENT_OK

    def _standing(self, transaction: Transaction) -> Standing:
        if transaction.arrival.account is not None:
            return Standing.AUTHENTICATED
        is_trusted = self._peer.is_in(self._settings.trusted_networks)
        return Standing.TRUSTED_NETWORK if is_trusted else Standing.STRANGER

    def _end_of_chunk(self, event: EndOfChunk) -> Reply:
        refused = self._intake.refusal(event.faults)
        if refused is None:
            return replies.chunk_accepted(event.chunk_octets)
        self._forget_transaction()
        return refused

    async def _end_of_content(self, event: EndOfContent) -> Reply:
        transaction = self._transaction
        assert transaction is not None, "content outside of a transaction"
        reply = await self._intake.finish(transaction, event.size_octets, event.faults)
        self._forget_transaction()
        if reply.is_positive:
            self._errors = self._commands = 0
        return reply

    def _starttls(self) -> Answer[Reply]:
        if not self._profile.offers_starttls:
            return Answer(replies.STARTTLS_NOT_OFFERED)
        return Answer(replies.STARTTLS_GO, Then.START_TLS)

    async def _auth(self, event: Auth) -> Reply:
        refused = self._login.refusal(self._tls)
        if refused is not None:
            return refused
        if event.mechanism.is_scram and event.mechanism not in self._login.mechanisms(self._tls):
            return replies.AUTH_MECHANISM_UNKNOWN
        match event.step:
            case Challenge(octets):
                return replies.sasl_challenge(encode_challenge(octets))
            case SaslFault(reason):
                return replies.sasl_wrong(reason)
            case Claim() as claim:
                reply = await self._login.attempt(event.mechanism, claim, _tls_text(self._tls))
            case ScramHello() | ScramProof() | ScramDone() as step:
                reply = await self._login.attempt_scram(event.mechanism, step, self._tls, _tls_text(self._tls))
            case _:
                assert_never(event.step)
        if reply.code == 235:
            self.machine.repairs_bare_newlines = self._settings.repairs_bare_newlines
        return reply

    # --- what they share ----------------------------------------------------------------------------------------------

    def _arrival(self, account: Account | None) -> Arrival:
        hello = self._hello
        return Arrival(
            hostname=self._settings.hostname,
            peer=self._peer,
            hello="" if hello is None else hello.name,
            is_extended=hello is not None and hello.is_extended,
            tls=self._tls,
            account=account,
            device=self._login.device,
            is_trusted=self._peer.is_in(self._settings.trusted_networks),
        )

    def _offer_auth(self) -> None:
        """Keep the machine in step with what EHLO says."""
        self.machine.offers_auth = self._login.refusal(self._tls) is None
        self.machine.offers_requiretls = self._tls is not None
        self.machine.repairs_bare_newlines = False

    def _forget_transaction(self) -> None:
        transaction, self._transaction = self._transaction, None
        self._intake.forget()
        # Last, because who waits for it goes on at once, and must find that the message is gone.
        if transaction is not None:
            for check in (transaction.sender_check, transaction.domain_check):
                if check is not None:
                    check.forget()

    def _log_refusal(self, event: SmtpEvent, transaction: Transaction | None, reply: Reply) -> None:
        """Note the reply, before it may become a 421 for too many errors. Logins have lines of their own."""
        if isinstance(event, Auth):
            return
        if reply is replies.TOO_MANY_RECIPIENTS and transaction is not None:
            # These do not count as errors, or a client with many recipients could never send; so one line for all.
            if transaction.has_overflowed:
                return
            transaction.has_overflowed = True
        envelope = event.envelope if isinstance(event, Mail) else transaction and transaction.envelope
        self._doors.log(
            Refused(
                "",
                str(self._peer),
                _command(event),
                str(reply),
                str(event.recipient.mailbox) if isinstance(event, Rcpt) else "",
                path_text(envelope.reverse_path) if envelope else "",
                self._profile.name,
                "" if self._hello is None else self._hello.name,
                "" if transaction is None else transaction.arrival.login,
                _recipients(event, transaction),
                "" if transaction is None else transaction.detail,
            )
        )


def _closing(reply: Reply) -> Answer[Reply]:
    return Answer(reply, Then.CLOSE, str(reply))


def _recipients(event: SmtpEvent, transaction: Transaction | None) -> tuple[str, ...]:
    """Whose message a refusal of content concerns."""
    if transaction is None or not isinstance(event, Data | EndOfContent | EndOfChunk):
        return ()
    return tuple(str(recipient.mailbox) for recipient in transaction.recipients)


def _command(event: SmtpEvent) -> str:
    """The verb, for the log."""
    if isinstance(event, Faulted):
        return event.verb
    if isinstance(event, EndOfContent):
        return "BDAT" if event.is_chunked else "DATA"
    return {EndOfChunk: "BDAT", StartTls: "STARTTLS", InjectedOctets: "STARTTLS", Hello: "EHLO"}.get(
        type(event), type(event).__name__.upper()
    )


def _tls_text(tls: TlsDetails | None) -> str:
    return "" if tls is None else f"{tls.version}/{tls.cipher}"
