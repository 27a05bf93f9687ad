"""Domains, accounts, aliases and passwords from plain dictionaries."""

from mailserver.mail.address import Mailbox, parse_mailbox
from mailserver.mail.scram import salted_keys
from mailserver.ports import Account, LoggedIn, ScramOffer, Use


def box(text: str) -> Mailbox:
    """A mailbox from text that is known to be right."""
    mailbox = parse_mailbox(text)
    assert isinstance(mailbox, Mailbox), mailbox
    return mailbox


class MemoryDirectory:
    """`mailserver.ports.Directory` and `Credentials` in memory. An alias `@example.org` is a catch-all."""

    def __init__(self, domains=("example.org",), accounts=("alice@example.org", "bob@example.org"), aliases=None):
        self.domains = set(domains)
        self.accounts = {box(text).folded: Account(box(text)) for text in accounts}
        self.aliases = {key.lower(): tuple(box(t) for t in targets) for key, targets in (aliases or {}).items()}
        self.passwords = dict.fromkeys(self.accounts, "secret")
        self.verified: list[tuple[str, str]] = []
        self.has_scram = False
        # The device that a password belongs to.
        self.devices: dict[str, str] = {}
        self.uses: list[tuple[str, str, str, Use]] = []

    def is_local_domain(self, domain):
        return domain in self.domains

    def account(self, mailbox):
        return self.accounts.get(mailbox.folded)

    def alias(self, mailbox):
        return self.aliases.get(mailbox.folded)

    def catch_all(self, domain):
        return self.aliases.get("@" + domain)

    def postmaster(self):
        return box("alice@example.org")

    def reaches(self, account):
        return [
            box(key)
            for key in self.aliases
            if not key.startswith("@") and account.mailbox.folded in self._expanded(key, set())
        ]

    def _expanded(self, key, seen):
        found = set()
        for target in self.aliases.get(key, ()):
            if target.folded not in seen:
                seen.add(target.folded)
                found |= {target.folded} | self._expanded(target.folded, seen)
        return found

    async def verify(self, login, password, use):
        self.verified.append((login, password))
        account = self.accounts.get(login.lower())
        if account is None or not account.is_enabled or self.passwords.get(login.lower()) != password:
            return None
        return LoggedIn(account, self.devices.get(password, ""), password)

    def offers_scram(self):
        return self.has_scram

    def scram(self, login, use):
        account = self.accounts.get(login.lower())
        if account is None:
            return ScramOffer(b"salt of nobody.", 4096)
        keys = salted_keys(self.passwords[login.lower()].encode(), b"salt of anybody", 4096)
        return ScramOffer(b"salt of anybody", 4096, ((LoggedIn(account, "", self.passwords[login.lower()]), keys),))

    def logged_in(self, who, address, use):
        self.uses.append((who.account.mailbox.folded, who.device, address, use))

    def still_holds(self, mailbox, proof):
        account = self.account(mailbox)
        return account is not None and account.is_enabled and self.passwords.get(mailbox.folded, "") == proof
