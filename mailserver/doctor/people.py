"""Accounts: the roles that must reach a person, and password hashes that are easily broken."""

from collections.abc import Iterator

from mailserver.config import Config
from mailserver.doctor.check import Check, failed, passed, warned
from mailserver.mail.address import Mailbox
from mailserver.policy.routing import Here, Route, find_route
from mailserver.store.account_tables import AccountTables
from mailserver.store.passwords import is_known_hash

# How hashes begin that take long to try out: argon2, bcrypt, SHA-crypt, PBKDF2 with SHA-2. The rest falls to a graphics
# card within days.
_STRONG = ("$argon2", "$2a$", "$2b$", "$2y$", "$5$", "$6$", "$pbkdf2-sha256$", "$pbkdf2-sha512$")
_STRONG_SCHEMES = ("{PBKDF2-SHA256}", "{PBKDF2-SHA512}")


def check_postmaster(config: Config, tables: AccountTables) -> Iterator[Check]:
    """postmaster@ and abuse@ of each domain reach somebody (RFC 5321 4.5.1, RFC 2142)."""
    name = "postmaster"
    lost = [
        f"{role}@{domain}"
        for domain in config.domains
        for role in ("postmaster", "abuse")
        if not _reaches_somebody(find_route(Mailbox(role, domain), tables), tables)
    ]
    is_made = config.postmaster in config.practice.accounts
    if not lost or is_made:
        yield passed(name, f"mail for postmaster and abuse reaches {config.postmaster}")
    elif config.postmaster.domain in config.domains:
        remedy = f"mailserver account add {config.postmaster}, or name another in postmaster"
        yield failed(name, f"{', '.join(lost[:4])} reach nobody", remedy)
    else:
        yield failed(name, f"{', '.join(lost[:4])} reach nobody", "mailserver alias add, or name another in postmaster")


def _reaches_somebody(route: Route, tables: AccountTables) -> bool:
    """The roles are taken for the postmaster in any case, and filed where nobody looks if there is no such account."""
    if not isinstance(route, Here):
        return False
    accounts = [tables.account(mailbox) for mailbox in route.mailboxes]
    return bool(route.outside) or any(account is not None and account.is_enabled for account in accounts)


def check_passwords(tables: AccountTables) -> Iterator[Check]:
    """Stored hashes take long to break if they are ever stolen."""
    name = "passwords"
    hashes = {tables.accounts[folded].mailbox: stored for folded, stored in tables.hashes.items()}
    unknown_kind = [str(mailbox) for mailbox, stored in hashes.items() if not is_known_hash(stored)]
    weak = [str(mailbox) for mailbox, stored in hashes.items() if is_known_hash(stored) and not _is_strong(stored)]
    if unknown_kind:
        remedy = f"mailserver account passwd {unknown_kind[0]}"
        yield failed(
            name, f"{_some(unknown_kind)}: this kind of hash is not known, nobody can log in", remedy, "unknown"
        )
    if weak:
        remedy = "it is mended at the next login with the password; else mailserver account passwd"
        yield warned(name, f"{_some(weak)}: the hash is of an old kind that is easily broken", remedy, "weak")
    if not unknown_kind and not weak:
        yield passed(name, f"{len(hashes)} stored, none of an old kind")


def _is_strong(stored: str) -> bool:
    scheme, brace, rest = stored.partition("}")
    inner = rest if brace and scheme.startswith("{") and rest.startswith("$") else stored
    return inner.startswith(_STRONG) or stored.upper().startswith(_STRONG_SCHEMES)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
