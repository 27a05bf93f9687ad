"""One POP3 session: event -> door -> reply (RFC 1939, 2449, 2595, 3206, 5034, 6856).

Who may log in where, what the maildrop holds, what is deleted. No bytes are parsed here and no transport is known. The
maildrop is a snapshot: numbers and sizes never move, DELE only marks, QUIT removes. The lock is freed when QUIT is
answered or the connection is lost, whichever comes first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import assert_never

from mailserver.config import AuthWithoutTls
from mailserver.mail import pop3_reply as replies
from mailserver.mail.peer import Peer
from mailserver.mail.pop3_reply import Pop3Reply
from mailserver.maillog import LoginRefused, LoginSucceeded, MaildropClosed, Refused, Sink
from mailserver.policy.limits import LoginGuesses
from mailserver.ports import (
    Answer,
    Clock,
    Credentials,
    LoggedIn,
    Maildrop,
    MaildropInUse,
    Maildrops,
    Overloaded,
    StorageTrouble,
    Then,
    TlsDetails,
    Use,
)
from mailserver.session.patience import LOGGED_CHARS, Patience
from mailserver.session.pop3_transaction import Transaction
from mailserver.session.scram_login import NotBound, ScramLogin, listed_mechanisms, offered_mechanisms
from mailserver.wire.pop3_events import (
    Auth,
    Capabilities,
    Delete,
    Faulted,
    InjectedOctets,
    Language,
    List,
    Mechanisms,
    Noop,
    Password,
    Pop3Event,
    Quit,
    Reset,
    Retrieve,
    StartTls,
    Stat,
    Top,
    UniqueIds,
    User,
    Utf8,
)
from mailserver.wire.sasl import (
    Challenge,
    Claim,
    Mechanism,
    SaslFault,
    ScramDone,
    ScramHello,
    ScramProof,
    encode_challenge,
)

SERVICE = "pop3"
_USER_PASS = "USER"
_ENGLISH = frozenset({"en", "i-default", "*"})


@dataclass(frozen=True, slots=True)
class Pop3Settings:
    """What the configuration says. `offers_tls`: STLS is possible (a certificate is there)."""

    hostname: str
    auth_without_tls: AuthWithoutTls
    offers_tls: bool = True
    max_errors: int = 20


@dataclass(frozen=True, slots=True)
class Pop3Doors:
    """What the session needs of the world."""

    credentials: Credentials
    maildrops: Maildrops
    clock: Clock
    guesses: LoginGuesses
    log: Sink


class Pop3Session:
    """One connection's conversation. `answer` is called for one event at a time; `lost` may come at any moment."""

    def __init__(self, settings: Pop3Settings, peer: Peer, doors: Pop3Doors) -> None:
        self._settings = settings
        self._peer = peer
        self._doors = doors
        self._patience = Patience(doors.guesses, peer, doors.clock)
        self._tls: TlsDetails | None = None
        self._user: str | None = None
        self._login = ""
        self._still_holds: Callable[[], bool] = _never
        self._scram: ScramLogin | None = None
        self._transaction: Transaction | None = None
        self._wrong_logins = 0
        self._errors = 0
        self._is_lost = False

    @property
    def is_stranger(self) -> bool:
        """True while nobody has logged in; strangers go first when it gets crowded."""
        return self._transaction is None

    @property
    def is_waiting(self) -> bool:
        """True while the client is kept waiting as one who guesses: nothing of value is lost when it has to go."""
        return self._patience.is_waiting

    # --- the connection -----------------------------------------------------------------------------------------------

    async def greet(self) -> Answer[Pop3Reply]:
        """The greeting."""
        return Answer(replies.greeting(self._settings.hostname))

    def tls_started(self, details: TlsDetails) -> None:
        """The handshake is done; what was said in clear does not count (RFC 2595 4)."""
        self._tls = details
        self._user = None
        self._scram = None

    def lost(self, reason: str) -> None:
        """The connection is gone: nothing is deleted, the lock is free at once (RFC 1939 3 and 6)."""
        self._is_lost = True
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            transaction.close()
            self._tell_closed(transaction, 0, reason)

    def timed_out(self) -> Pop3Reply | None:
        """The client was silent too long: nothing is said (RFC 1939 3: "without ... sending any response")."""
        return None

    def shutting_down(self) -> Pop3Reply:
        """The server stops; marks are forgotten, as with any connection that ends without QUIT."""
        return replies.SHUTTING_DOWN

    def broken(self) -> Pop3Reply:
        """A mistake of ours ended the session."""
        return replies.INTERNAL_ERROR

    # --- events -------------------------------------------------------------------------------------------------------

    def answer_at_once(self, event: Pop3Event) -> Answer[Pop3Reply] | None:
        """The answer where it needs nothing but memory; None: ask `answer`."""
        match event:
            case Retrieve() | Delete() | Stat() | List() | Reset() | Noop() if self._transaction is not None:
                if not self._still_holds():
                    return _ended()
                reply = self._transaction.answer_at_once(event)
                return None if reply is None else Answer(reply)
        return None

    async def answer(self, event: Pop3Event) -> Answer[Pop3Reply]:
        """The answer to one event; may wait for a password check or the disk."""
        match event:
            case Retrieve() | Delete() | Top() | Stat() | List() | UniqueIds() | Reset() | Noop():
                transaction = self._transaction
                assert transaction is not None, "the machine lets these pass in TRANSACTION only"
                if not self._still_holds():
                    return _ended()
                return Answer(await transaction.answer(event))
            case User() | Password() | Auth() | Mechanisms():
                return await self._answer_login(event)
            case Quit():
                if self._transaction is not None and not self._still_holds():
                    return _ended()
                return Answer(await self._quit(), Then.CLOSE)
            case Capabilities():
                return Answer(replies.capabilities(self._capabilities()))
            case StartTls():
                return self._start_tls()
            case InjectedOctets():
                self._log_refused("STLS", replies.INJECTED_OCTETS)
                return Answer(replies.INJECTED_OCTETS, Then.CLOSE, "octets before the TLS handshake")
            case Utf8():
                # Deviation from RFC 6856 2: without UTF8 a client gets UTF-8 headers all the same. Downgrading them
                # (RFC 6857) would change sizes and content, and clients of today read UTF-8.
                return Answer(replies.UTF8_ENABLED)
            case Language():
                return Answer(_language(event.tag))
            case Faulted():
                return self._faulted(event)
            case _:
                assert_never(event)

    def _faulted(self, event: Faulted) -> Answer[Pop3Reply]:
        self._errors += 1
        if self._errors >= self._settings.max_errors:
            self._log_refused(event.verb, replies.TOO_MANY_ERRORS)
            return Answer(replies.TOO_MANY_ERRORS, Then.CLOSE, "too many errors")
        return Answer(event.reply)

    def _log_refused(self, verb: str, reply: Pop3Reply) -> None:
        self._doors.log(Refused("", str(self._peer), verb, str(reply), self._login))

    # --- TLS and capabilities -----------------------------------------------------------------------------------------

    def _start_tls(self) -> Answer[Pop3Reply]:
        if self._tls is not None:
            return Answer(replies.TLS_ALREADY_ACTIVE)
        if not self._settings.offers_tls:
            return Answer(replies.TLS_NOT_AVAILABLE)
        return Answer(replies.BEGIN_TLS, Then.START_TLS)

    @property
    def _may_log_in(self) -> bool:
        """Whether a password may be said on this connection (RFC 8314 4.1)."""
        if self._tls is not None:
            return True
        match self._settings.auth_without_tls:
            case AuthWithoutTls.ALWAYS:
                return True
            case AuthWithoutTls.LOOPBACK:
                return self._peer.is_loopback
            case AuthWithoutTls.NEVER:
                return False
            case never:
                assert_never(never)

    def _capabilities(self) -> list[str]:
        """RFC 2449 5: what works in AUTHORIZATION is told in both states, so login changes nothing here; TLS does."""
        lines = ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER", "LANG"]
        if self._may_log_in:
            # RFC 6856 2.2: the argument USER tells that USER and PASS take UTF-8.
            lines += ["UTF8 USER", "USER", *(f"SASL {one}" for one in listed_mechanisms(self._mechanisms()))]
        else:
            lines.append("UTF8")
        if self._tls is None and self._settings.offers_tls:
            lines.append("STLS")
        lines.append("IMPLEMENTATION mailserver")
        return lines

    def _mechanisms(self) -> tuple[Mechanism, ...]:
        return offered_mechanisms(self._doors.credentials, self._tls)

    # --- login --------------------------------------------------------------------------------------------------------

    async def _answer_login(self, event: User | Password | Auth | Mechanisms) -> Answer[Pop3Reply]:
        if not self._may_log_in:
            offers_stls = self._settings.offers_tls
            return Answer(replies.LOGIN_NEEDS_TLS if offers_stls else replies.LOGIN_WITHOUT_TLS_IMPOSSIBLE)
        match event:
            case User():
                # The same answer whoever it is: nobody learns here which names exist (RFC 1939 13).
                self._user = event.name
                return Answer(replies.USER_NOTED)
            case Password():
                user, self._user = self._user, None
                if user is None:
                    return Answer(replies.USER_FIRST)
                return await self._log_in(user, event.password, _USER_PASS)
            case Auth():
                return await self._step(event)
            case Mechanisms():
                return Answer(replies.mechanisms(one.value for one in self._mechanisms()))
            case _:
                assert_never(event)

    async def _step(self, event: Auth) -> Answer[Pop3Reply]:
        if event.mechanism.is_scram and event.mechanism not in self._mechanisms():
            return self._faulted(Faulted("AUTH", replies.MECHANISM_UNKNOWN))
        match event.step:
            case Challenge():
                return Answer(replies.challenge(encode_challenge(event.step.octets)))
            case SaslFault():
                return self._faulted(Faulted("AUTH", replies.auth_malformed(event.step.reason)))
            case Claim():
                claim = event.step
                if claim.acts_for_another:
                    began = self._doors.clock.monotonic()
                    return await self._wrong(claim.login, event.mechanism.value, "wants to act for another", began)
                return await self._log_in(claim.login, claim.password, event.mechanism.value)
            case ScramHello():
                return await self._scram_begins(event.mechanism, event.step)
            case ScramProof():
                return await self._scram_proves(event.mechanism, event.step)
            case ScramDone():
                scram, self._scram = self._scram, None
                if scram is None or scram.proved is None:
                    return Answer(replies.LOGIN_WRONG)
                return await self._open(scram.proved, event.mechanism.value)
            case _:
                assert_never(event.step)

    async def _scram_begins(self, mechanism: Mechanism, step: ScramHello) -> Answer[Pop3Reply]:
        began = self._doors.clock.monotonic()
        if step.acts_for_another:
            return await self._wrong(step.hello.login, mechanism.value, "wants to act for another", began)
        self._scram = scram = ScramLogin(self._doors.credentials, Use.POP3)
        challenge = scram.begin(mechanism, step, self._tls)
        if isinstance(challenge, NotBound):
            return await self._wrong(scram.login, mechanism.value, challenge.reason, began)
        return Answer(replies.challenge(encode_challenge(challenge)))

    async def _scram_proves(self, mechanism: Mechanism, step: ScramProof) -> Answer[Pop3Reply]:
        """Every failure takes the same way as that of a password, and the same time."""
        scram = self._scram
        if scram is None:
            return Answer(replies.LOGIN_WRONG)
        await self._patience.before_check()
        if self._is_lost:
            return Answer(replies.LOGIN_BUSY, Then.CLOSE)
        began = self._doors.clock.monotonic()
        signature = scram.prove(step)
        if signature is None:
            self._scram = None
            return await self._wrong(scram.login, mechanism.value, "wrong name or password", began)
        return Answer(replies.challenge(encode_challenge(signature)))

    async def _log_in(self, login: str, password: str, mechanism: str) -> Answer[Pop3Reply]:
        """Check the password and open the maildrop. Every failure takes the same way, and the same time."""
        doors = self._doors
        await self._patience.before_check()
        if self._is_lost:
            return Answer(replies.LOGIN_BUSY, Then.CLOSE)
        began = doors.clock.monotonic()
        try:
            who = await doors.credentials.verify(login, password, Use.POP3)
        except Overloaded:
            return self._not_now(replies.LOGIN_BUSY, login, mechanism, "too many logins wait")
        if who is None:
            return await self._wrong(login, mechanism, "wrong name or password", began)
        return await self._open(who, mechanism)

    async def _open(self, who: LoggedIn, mechanism: str) -> Answer[Pop3Reply]:
        mailbox = who.account.mailbox
        self._still_holds = partial(self._doors.credentials.still_holds, mailbox, who.proof)
        login = str(mailbox)
        try:
            maildrop = await self._doors.maildrops.open(who.account)
        except MaildropInUse:
            return self._not_now(replies.MAILDROP_IN_USE, login, mechanism, "maildrop in use")
        except Overloaded:
            return self._not_now(replies.LOGIN_BUSY, login, mechanism, "too many maildrops wait")
        except StorageTrouble as trouble:
            return self._not_now(replies.MAILDROP_TROUBLE, login, mechanism, str(trouble))
        if self._is_lost:
            maildrop.close()
            return Answer(replies.LOGIN_BUSY, Then.CLOSE)
        return Answer(self._opened(who, maildrop, mechanism))

    def _opened(self, who: LoggedIn, maildrop: Maildrop, mechanism: str) -> Pop3Reply:
        self._login = login = str(who.account.mailbox)
        peer, doors = str(self._peer), self._doors
        self._transaction = transaction = Transaction(maildrop, login, peer, doors.log, who.device)
        tls = self._tls.version if self._tls is not None else ""
        doors.credentials.logged_in(who, self._peer.host, Use.POP3)
        doors.log(LoginSucceeded(peer, SERVICE, login, mechanism, tls, who.device))
        return replies.logged_in(transaction.messages, transaction.octets)

    async def _wrong(self, login: str, mechanism: str, reason: str, began: float) -> Answer[Pop3Reply]:
        """Note a failure, then tell it at its time. `began`: when the check began, in monotonic seconds."""
        doors = self._doors
        doors.guesses.failed(self._peer, doors.clock.monotonic())
        doors.log(LoginRefused(str(self._peer), SERVICE, login[:LOGGED_CHARS], mechanism, reason))
        self._wrong_logins += 1
        await self._patience.after_failure(began)
        if self._wrong_logins >= doors.guesses.max_failures:
            return Answer(replies.LOGIN_WRONG_TOO_OFTEN, Then.CLOSE, "too many wrong logins")
        return Answer(replies.LOGIN_WRONG)

    def _not_now(self, reply: Pop3Reply, login: str, mechanism: str, reason: str) -> Answer[Pop3Reply]:
        """Refused for a reason that is not the client's: no wrong login is counted."""
        self._doors.log(LoginRefused(str(self._peer), SERVICE, login[:LOGGED_CHARS], mechanism, reason))
        return Answer(reply)

    # --- the end ------------------------------------------------------------------------------------------------------

    async def _quit(self) -> Pop3Reply:
        """In TRANSACTION: UPDATE, and the answer only when removals are on disk and the lock is free (RFC 1939 6)."""
        transaction, self._transaction = self._transaction, None
        if transaction is None:
            return replies.GOODBYE
        reply, removed = await transaction.update()
        self._tell_closed(transaction, removed, "" if reply.is_positive else str(reply))
        return reply

    def _tell_closed(self, transaction: Transaction, removed: int, reason: str) -> None:
        self._doors.log(
            MaildropClosed(
                str(self._peer),
                self._login,
                transaction.retrieved,
                removed,
                len(transaction.sizes) - removed,
                transaction.octets_sent,
                reason,
            )
        )


def _never() -> bool:
    """Before a login."""
    return False


def _ended() -> Answer[Pop3Reply]:
    """The account was removed, disabled or given another password meanwhile; `lost` follows, and nothing is deleted."""
    return Answer(replies.ACCOUNT_CHANGED, Then.CLOSE, "the account was changed")


def _language(tag: str | None) -> Pop3Reply:
    """RFC 6856 3: there is one language; `*` and `i-default` are it too, and so is any English."""
    if tag is None:
        return replies.LANGUAGES
    primary = tag.lower()
    is_english = primary in _ENGLISH or primary.startswith("en-")
    return replies.LANGUAGE_ENGLISH if is_english else replies.LANGUAGE_UNKNOWN
