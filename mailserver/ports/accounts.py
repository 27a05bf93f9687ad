"""Who lives here and how that is proved: asked by the sessions and by everything that finds a destination."""

from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import Protocol

from mailserver.mail.address import Mailbox
from mailserver.mail.junk import JunkDelivery


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


class Credentials(Protocol):
    """Checks passwords; slow by intention, so it works in the `PASSWORDS` lane."""

    def verify(self, login: str, password: str) -> Awaitable[Account | None]:
        """The account when login and password fit and it is enabled, else None.

        Takes the same time for an unknown login as for a wrong password. Raises `Overloaded` when too many wait.
        """

    def proof(self, mailbox: Mailbox) -> str:
        """What a login proves that succeeded just now, for `still_holds`; empty for an account that is not there."""

    def still_holds(self, mailbox: Mailbox, proof: str) -> bool:
        """Whether a login with this proof counts still: the account is there, enabled, and has the same password.

        Answers from memory, and is asked for each command: what the operator changes ends open sessions.
        """
