"""Where mail for an address goes: the one function behind RCPT, the queue and `mailserver route`.

The order: the account with exactly this address, the alias with exactly this address, the same two for the part before
the first `+`, the roles `postmaster` and `abuse`, the domain's catch-all. Aliases are followed through aliases with a
set of what was visited, so a circle ends. Local parts are compared whole; `%`, `!` and quotes mean nothing here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from mailserver.mail.address import Mailbox
from mailserver.ports import Directory

# RFC 5321 4.5.1 and RFC 2142 2: these must reach a person whatever else is configured.
ROLES = frozenset({"postmaster", "abuse"})


@dataclass(frozen=True, slots=True)
class Here:
    """It is delivered: to `mailboxes` of this server, and onward to `outside` addresses that an alias names.

    At least one of the two is not empty. `steps` tells how it was found, a sentence each; so in all routes.
    """

    mailboxes: tuple[Mailbox, ...]
    outside: tuple[Mailbox, ...]
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The domain is somebody else's."""

    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnknownMailbox:
    """The domain is ours, the mailbox does not exist."""

    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DisabledMailbox:
    """It exists, and every account behind it is disabled."""

    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DanglingAlias:
    """An alias of which no target exists."""

    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CyclicAlias:
    """An alias that leads only back to itself."""

    steps: tuple[str, ...]


Route = Here | Elsewhere | UnknownMailbox | DisabledMailbox | DanglingAlias | CyclicAlias


def find_route(mailbox: Mailbox, directory: Directory) -> Route:
    """Where mail for `mailbox` goes. Answers from memory, never raises.

    An alias with several targets is delivered to those that can be reached; a target that dangles, is disabled or goes
    in a circle is left out (and stands in `steps`), because one removed colleague must not stop a whole list. Only an
    alias that reaches nobody is refused.
    """
    if mailbox.domain and not directory.is_local_domain(mailbox.domain):
        return Elsewhere((f"{mailbox.domain} is not one of our domains",))
    account = directory.account(mailbox)  # the usual case, without a set of anything
    if account is not None and account.is_enabled:
        return Here((account.mailbox,), (), (f"{account.mailbox} is an account",))
    return _Search(directory).run(mailbox)


def without_detail(mailbox: Mailbox) -> Mailbox | None:
    """`sales+news@` as `sales@`; None when there is no detail (RFC 5233)."""
    base, plus, _ = mailbox.local_part.partition("+")
    return replace(mailbox, local_part=base) if plus and base else None


@dataclass(frozen=True, slots=True)
class _Targets:
    """An alias found: where it leads, and how to call it."""

    targets: tuple[Mailbox, ...]
    what: str


class _Search:
    """The state of one search through aliases."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._mailboxes: dict[str, Mailbox] = {}
        self._outside: dict[str, Mailbox] = {}
        self._visited: set[str] = set()
        self._steps: list[str] = []
        self._saw_alias = self._saw_disabled = self._saw_circle = False
        self._role_holder: Mailbox | None = None

    def run(self, mailbox: Mailbox) -> Route:
        # A stack and not recursion: a chain of a thousand aliases is odd and must not be an exception.
        waiting = [mailbox]
        while waiting:
            waiting.extend(reversed(self._follow(waiting.pop())))
        if self._role_holder is not None and not (self._mailboxes or self._outside):
            self._mailboxes[self._role_holder.folded] = self._role_holder
            self._steps.append(f"it is filed under {self._role_holder} although no account takes it")
        steps = tuple(self._steps)
        if self._mailboxes or self._outside:
            return Here(tuple(self._mailboxes.values()), tuple(self._outside.values()), steps)
        if self._saw_disabled:
            return DisabledMailbox(steps)
        if self._saw_circle:
            return CyclicAlias(steps)
        return DanglingAlias(steps) if self._saw_alias else UnknownMailbox(steps)

    def _follow(self, mailbox: Mailbox) -> tuple[Mailbox, ...]:
        """Note what `mailbox` is; the addresses it leads to are followed next."""
        if mailbox.domain and not self._directory.is_local_domain(mailbox.domain):
            self._outside.setdefault(mailbox.folded, mailbox)
            self._steps.append(f"{mailbox} is outside and is sent on")
            return ()
        if mailbox.folded in self._visited:
            self._saw_circle = True
            self._steps.append(f"{mailbox} was met before and is not followed again")
            return ()
        self._visited.add(mailbox.folded)
        for name in _names(mailbox):
            if self._is_account(name):
                return ()
            found = self._alias(name)
            if found is not None:
                return self._expand(mailbox, found)
            if name.local_part.lower() in ROLES:
                return self._role(name)
        caught = self._directory.catch_all(mailbox.domain)
        if caught is not None:
            return self._expand(mailbox, _Targets(caught, f"the catch-all @{mailbox.domain}"))
        self._steps.append(f"{mailbox} is neither an account nor an alias")
        return ()

    def _is_account(self, name: Mailbox) -> bool:
        account = self._directory.account(name)
        if account is None:
            return False
        if account.is_enabled:
            self._mailboxes.setdefault(account.mailbox.folded, account.mailbox)
            self._steps.append(f"{account.mailbox} is an account")
        else:
            self._saw_disabled = True
            self._steps.append(f"{account.mailbox} is an account that is disabled")
        return True

    def _alias(self, name: Mailbox) -> _Targets | None:
        targets = self._directory.alias(name)
        return None if targets is None else _Targets(targets, f"the alias {name}")

    def _expand(self, mailbox: Mailbox, found: _Targets) -> tuple[Mailbox, ...]:
        self._saw_alias = True
        where = ", ".join(map(str, found.targets)) or "nobody"
        self._steps.append(f"{mailbox} is taken by {found.what}, which leads to {where}")
        return found.targets

    def _role(self, name: Mailbox) -> tuple[Mailbox, ...]:
        """`postmaster` and `abuse` without account or alias of their own.

        They are always accepted (RFC 5321 4.5.1). When the configured postmaster reaches nobody, `run` has the mail
        filed under that very address, so that it is there once the account is added or enabled again.
        """
        postmaster = self._role_holder = self._directory.postmaster()
        self._steps.append(f"{name} is for the postmaster, {postmaster}")
        return (postmaster,)


def _names(mailbox: Mailbox) -> Iterator[Mailbox]:
    """The names under which tables may hold this mailbox, the exact one first."""
    yield mailbox
    base = without_detail(mailbox)
    if base is not None:
        yield base
