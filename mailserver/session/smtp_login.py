"""AUTH in an SMTP session: whether it may be tried, what becomes of it, and when a failure is told (RFC 4954)."""

from mailserver.config.schema import AuthWithoutTls
from mailserver.mail import reply as replies
from mailserver.mail.peer import Peer
from mailserver.mail.reply import Reply
from mailserver.maillog import LoginRefused, LoginSucceeded
from mailserver.ports import Account, Overloaded, TlsDetails
from mailserver.session.patience import LOGGED_CHARS, Patience
from mailserver.session.smtp_profile import Profile, SmtpDoors, SmtpSettings
from mailserver.wire.sasl import Claim, Mechanism


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
        self._account: Account | None = None
        self._proof = ""

    def account(self) -> Account | None:
        """The account as it is now; None also when it was removed, disabled or given another password since."""
        if self._account is not None:
            mailbox = self._account.mailbox
            holds = self._doors.credentials.still_holds(mailbox, self._proof)
            self._account = self._doors.directory.account(mailbox) if holds else None
        return self._account

    def forget(self) -> None:
        """TLS begins (RFC 3207 4.2)."""
        self._account = None

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
            return self._failed(mechanism, claim, replies.AUTH_FAILED, "hung up before it was looked at")
        began = doors.clock.monotonic()
        if claim.acts_for_another:
            reply = self._failed(mechanism, claim, replies.AUTH_FOR_ANOTHER, "acts for another")
            await self._patience.after_failure(began)
            return reply
        try:
            account = await doors.credentials.verify(claim.login, claim.password)
        except Overloaded:
            return replies.AUTH_OVERLOADED
        if account is None:
            reply = self._failed(mechanism, claim, replies.AUTH_FAILED, "wrong login or password")
            await self._patience.after_failure(began)
            return reply
        self._account, self._proof = account, doors.credentials.proof(account.mailbox)
        name = str(account.mailbox)
        doors.log(LoginSucceeded(str(self._peer), self._profile.name, name, mechanism.value, tls))
        return replies.AUTH_OK

    def _failed(self, mechanism: Mechanism, claim: Claim, reply: Reply, reason: str) -> Reply:
        self._failures += 1
        self._doors.guesses.failed(self._peer, self._doors.clock.monotonic())
        self._doors.log(
            LoginRefused(str(self._peer), self._profile.name, claim.login[:LOGGED_CHARS], mechanism.value, reason)
        )
        return replies.AUTH_TOO_OFTEN if self._failures >= self._doors.guesses.max_failures else reply
