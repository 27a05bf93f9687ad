"""AUTH in an SMTP session: whether it may be tried, what becomes of it, and when a failure is told (RFC 4954)."""

from typing import assert_never

from mailserver.config.schema import AuthWithoutTls
from mailserver.mail import reply as replies
from mailserver.mail.peer import Peer
from mailserver.mail.reply import Reply
from mailserver.maillog import LoginRefused, LoginSucceeded
from mailserver.ports import Account, LoggedIn, Overloaded, TlsDetails, Use
from mailserver.session.patience import LOGGED_CHARS, Patience
from mailserver.session.scram_login import NotBound, ScramLogin, offered_mechanisms
from mailserver.session.smtp_profile import Profile, SmtpDoors, SmtpSettings
from mailserver.wire.sasl import Claim, Mechanism, ScramDone, ScramHello, ScramProof, encode_challenge

_HUNG_UP = "hung up before it was looked at"
_FOR_ANOTHER = "acts for another"
_WRONG = "wrong login or password"


class Login:
    """Who the client of one session is. `account` is None until it has proved it."""

    def __init__(self, profile: Profile, peer: Peer, settings: SmtpSettings, doors: SmtpDoors) -> None:
        self._profile = profile
        self._peer = peer
        self._settings = settings
        self._doors = doors
        self._patience = Patience(doors.guesses, peer, doors.clock)
        self._failures = 0
        self._is_gone = False
        self._who: LoggedIn | None = None
        self._scram: ScramLogin | None = None

    def account(self) -> Account | None:
        """The account as it is now; None also when it was removed, disabled or given another password since."""
        if self._who is None:
            return None
        mailbox = self._who.account.mailbox
        account = (
            self._doors.directory.account(mailbox)
            if self._doors.credentials.still_holds(mailbox, self._who.proof)
            else None
        )
        if account is None:
            self._who = None
        return account

    @property
    def device(self) -> str:
        """The device whose app password it was done with; empty for the account's own password."""
        return "" if self._who is None else self._who.device

    def mechanisms(self, tls: TlsDetails | None) -> tuple[Mechanism, ...]:
        """What may be used when AUTH may be used."""
        return offered_mechanisms(self._doors.credentials, tls)

    def forget(self) -> None:
        """TLS begins (RFC 3207 4.2)."""
        self._who = None
        self._scram = None

    def hang_up(self) -> None:
        """The connection is gone; a login that still waits for its turn is given up."""
        self._is_gone = True

    @property
    def is_waiting(self) -> bool:
        """Whether the client is kept waiting as one who guesses."""
        return self._patience.is_waiting

    def refusal(self, tls: TlsDetails | None) -> Reply | None:
        """None when AUTH may be used now."""
        if not self._profile.offers_auth:
            return replies.AUTH_NOT_OFFERED
        if tls is not None or self._may_go_without_tls():
            return None
        return replies.AUTH_NEEDS_TLS

    def _may_go_without_tls(self) -> bool:
        allowed = self._settings.auth_without_tls
        return allowed is AuthWithoutTls.ALWAYS or (allowed is AuthWithoutTls.LOOPBACK and self._peer.is_loopback)

    async def attempt(self, mechanism: Mechanism, claim: Claim, tls: str) -> Reply:
        """Check a claim: 235, 535, 454, or 421 when this session has failed too often.

        The wait for guessers comes first, so that hanging up early teaches them nothing. Every failure takes the same
        path and is told at the same time after its check began; it is counted before, so that many at once are slowed.
        """
        doors = self._doors
        if await self._patience.before_check() and self._is_gone:
            # It counts as a guess, and costs no verification: or a client could pile them up by hanging up.
            return self._failed(mechanism, claim.login, replies.AUTH_FAILED, _HUNG_UP)
        began = doors.clock.monotonic()
        if claim.acts_for_another:
            return await self._refused(mechanism, claim.login, replies.AUTH_FOR_ANOTHER, _FOR_ANOTHER, began)
        try:
            who = await doors.credentials.verify(claim.login, claim.password, Use.SUBMISSION)
        except Overloaded:
            return replies.AUTH_OVERLOADED
        if who is None:
            return await self._refused(mechanism, claim.login, replies.AUTH_FAILED, _WRONG, began)
        return self._succeeded(mechanism, who, tls)

    async def attempt_scram(
        self, mechanism: Mechanism, step: ScramHello | ScramProof | ScramDone, tls: TlsDetails | None, told_tls: str
    ) -> Reply:
        """One step of SCRAM: 334 with what comes next, 235 behind the last, or a failure as with `attempt`."""
        match step:
            case ScramHello():
                return await self._scram_begins(mechanism, step, tls)
            case ScramProof():
                return await self._scram_proves(mechanism, step)
            case ScramDone():
                scram, self._scram = self._scram, None
                # The account may have changed since the proof: then the next command finds nobody logged in.
                if scram is None or scram.proved is None:
                    return replies.AUTH_FAILED
                return self._succeeded(mechanism, scram.proved, told_tls)
        assert_never(step)

    async def _scram_begins(self, mechanism: Mechanism, step: ScramHello, tls: TlsDetails | None) -> Reply:
        began = self._doors.clock.monotonic()
        login = step.hello.login
        if step.acts_for_another:
            return await self._refused(mechanism, login, replies.AUTH_FOR_ANOTHER, _FOR_ANOTHER, began)
        self._scram = scram = ScramLogin(self._doors.credentials, Use.SUBMISSION)
        challenge = scram.begin(mechanism, step, tls)
        if isinstance(challenge, NotBound):
            return await self._refused(mechanism, login, replies.AUTH_FAILED, challenge.reason, began)
        return replies.sasl_challenge(encode_challenge(challenge))

    async def _scram_proves(self, mechanism: Mechanism, step: ScramProof) -> Reply:
        scram = self._scram
        if scram is None:
            return replies.AUTH_FAILED
        if await self._patience.before_check() and self._is_gone:
            return self._failed(mechanism, scram.login, replies.AUTH_FAILED, _HUNG_UP)
        began = self._doors.clock.monotonic()
        signature = scram.prove(step)
        if signature is None:
            self._scram = None
            return await self._refused(mechanism, scram.login, replies.AUTH_FAILED, _WRONG, began)
        return replies.sasl_challenge(encode_challenge(signature))

    def _succeeded(self, mechanism: Mechanism, who: LoggedIn, tls: str) -> Reply:
        self._who = who
        doors, peer = self._doors, self._peer
        doors.credentials.logged_in(who, peer.host, Use.SUBMISSION)
        name = str(who.account.mailbox)
        doors.log(LoginSucceeded(str(peer), self._profile.name, name, mechanism.value, tls, who.device))
        return replies.AUTH_OK

    async def _refused(self, mechanism: Mechanism, login: str, reply: Reply, reason: str, began: float) -> Reply:
        told = self._failed(mechanism, login, reply, reason)
        await self._patience.after_failure(began)
        return told

    def _failed(self, mechanism: Mechanism, login: str, reply: Reply, reason: str) -> Reply:
        self._failures += 1
        self._doors.guesses.failed(self._peer, self._doors.clock.monotonic())
        self._doors.log(
            LoginRefused(str(self._peer), self._profile.name, login[:LOGGED_CHARS], mechanism.value, reason)
        )
        return replies.AUTH_TOO_OFTEN if self._failures >= self._doors.guesses.max_failures else reply
