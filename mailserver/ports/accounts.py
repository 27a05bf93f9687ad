"""Who lives here and how that is proved: asked by the sessions and by everything that finds a destination."""

from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from mailserver.mail.address import Mailbox
from mailserver.mail.junk import JunkDelivery
from mailserver.mail.scram import ScramKeys


@dataclass(frozen=True, slots=True)
class Account:
    """One account: `mailbox` is its address and the name of its Maildir."""

    mailbox: Mailbox
    is_enabled: bool = True
    # Further addresses (`x@example.org`) and whole domains (`@example.org`) it may send as (`may_send_as`).
    may_send_as: tuple[str, ...] = ()
    # Where its junk goes; None: as configured for all.
    junk: JunkDelivery | None = None


class Directory(Protocol):
    """Domains, accounts and aliases, in memory, matched by `Mailbox.folded`; reloaded when their file changes."""

    def is_local_domain(self, domain: str) -> bool:
        """Whether mailboxes of this canonical domain live here; exact match, no sub-domains."""

    def account(self, mailbox: Mailbox) -> Account | None:
        """The account with exactly this address, enabled or not."""

    def alias(self, mailbox: Mailbox) -> tuple[Mailbox, ...] | None:
        """The targets of exactly this alias; None when there is none."""

    def catch_all(self, domain: str) -> tuple[Mailbox, ...] | None:
        """The targets of `@domain`; None when there is none."""

    def postmaster(self) -> Mailbox:
        """Who gets postmaster@ and abuse@ of every local domain, and the bare `postmaster`."""

    def reaches(self, account: Account) -> Iterable[Mailbox]:
        """Every alias address whose expansion contains this account's mailbox."""


class Use(Enum):
    """What a login is for; the value is how an app password that is for one of them says so."""

    SUBMISSION = "submission"
    POP3 = "pop3"


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Who has proved who they are. `device` names the app password it was done with, empty for the account's own.

    `proof` is for `still_holds`; nobody else looks into it.
    """

    account: Account
    device: str = ""
    proof: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ScramOffer:
    """What a SCRAM exchange needs: salt and count for the challenge, and whose keys count.

    An unknown login has salt and count like the others, and nobody. Every one of `candidates` has this salt and count.
    """

    salt: bytes
    iterations: int
    candidates: tuple[tuple[LoggedIn, ScramKeys], ...] = ()


class Credentials(Protocol):
    """Checks who logs in: passwords in the `PASSWORDS` lane, because they are slow by intention; SCRAM from memory."""

    def verify(self, login: str, password: str, use: Use) -> Awaitable[LoggedIn | None]:
        """Who it is when login and password fit, the account is enabled and the password is for this use; else None.

        Takes the same time for an unknown login as for a wrong password. Raises `Overloaded` when too many wait.
        """

    def offers_scram(self) -> bool:
        """Whether everybody who has a password can log in with SCRAM."""

    def scram(self, login: str, use: Use) -> ScramOffer:
        """What to challenge this login with, known or not."""

    def logged_in(self, who: LoggedIn, address: str, use: Use) -> None:
        """Note when and from which address a device was used last; costs nothing."""

    def still_holds(self, mailbox: Mailbox, proof: str) -> bool:
        """Whether a login with this proof counts still: the account is there, enabled, and has the same password.

        Answers from memory, and is asked for each command: what the operator changes ends open sessions.
        """
