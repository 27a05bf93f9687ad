"""Practice mode: accounts to try things out with, and everything a mail program wants to know to use them.

The accounts of `[practice]` are made at the first start with generated passwords, which are kept in
`<state>/practice-passwords` (0600; a line is `address password`) and shown at each start. The configuration refuses
this unless every listener is on loopback, so these passwords are of no use to anybody else.

Crash states: passwords are written before their accounts are made; an account that is missing is made at the next start
with the password that was written for it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mailserver.config import Config
from mailserver.mail.address import Mailbox
from mailserver.store.accounts_edit import AccountsDocument, NoSuchEntry, editing
from mailserver.store.files import Files
from mailserver.store.passwords import Passwords, generate_password
from mailserver.store.scram_keys import scram_line

FILE_NAME = "practice-passwords"
_HEADER = "# Passwords of the practice accounts. They are for trying things out on this machine.\n"


@dataclass(frozen=True, slots=True)
class PracticeAccount:
    """`password` empty: the account has another one than we gave it, and nobody but its owner knows it."""

    mailbox: Mailbox
    password: str


def make_practice_accounts(config: Config, passwords: Passwords | None = None) -> tuple[PracticeAccount, ...]:
    """Make those accounts of `[practice]` that do not exist; all of them with their passwords. Blocking, durable.

    Raises `AccountsError` when the accounts file cannot be read or written, `OSError` for the passwords' file.
    """
    if not config.practice.accounts:
        return ()
    hasher = passwords or Passwords()
    path = config.storage.state / FILE_NAME
    known = _read(path)
    found = []
    with editing(config.accounts.file) as document:
        stored = {mailbox: _stored_hash(document, mailbox) for mailbox in config.practice.accounts}
        missing = [str(mailbox) for mailbox in stored if stored[mailbox] is None]
        if missing:
            known = {**{name: generate_password() for name in missing}, **known}
            _write(path, known)
        for mailbox, hashed in stored.items():
            password = known.get(str(mailbox), "")
            if hashed is None:
                made = hasher.hash(password)
                document.add_account(mailbox, made, scram_line(password, made) if config.auth.scram else "")
            elif not hasher.check(hashed, password).is_right:
                password = ""
            found.append(PracticeAccount(mailbox, password))
    return tuple(found)


def _stored_hash(document: AccountsDocument, mailbox: Mailbox) -> str | None:
    try:
        return document.password(mailbox)
    except NoSuchEntry:
        return None


def _read(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.split(" ") for line in lines if not line.startswith("#"))
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def _write(path: Path, passwords: Mapping[str, str]) -> None:
    disk = Files()
    disk.make_folders(str(path.parent))
    aside = path.with_suffix(".new")
    disk.discard(str(aside))
    lines = "".join(f"{address} {password}\n" for address, password in passwords.items())
    disk.replace(str(path), str(aside), (_HEADER + lines).encode())


# --- what is shown ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Where one service listens, for somebody on this machine."""

    service: str
    host: str
    port: int


def settings_text(accounts: Sequence[PracticeAccount], places: Iterable[Place], ca: Path | None) -> str:
    """What is printed at each start: accounts, the settings for a mail program, and lines to paste.

    `ca` is the self-signed certificate, or None when the owner's own is in use.
    """
    at = {place.service: place for place in reversed(list(places)) if place.port}
    lines = ["", "mailserver, practice mode: on this machine only", "", "Accounts"]
    width = max(len(str(account.mailbox)) for account in accounts)
    for account in accounts:
        told = account.password or "(a password of your own)"
        lines.append(f"  {account.mailbox!s:{width}}  {told}")
    lines += ["", "Settings for a mail program (Thunderbird: account settings, manual configuration)"]
    lines += [f"  {row}" for row in _table(_settings(at))]
    lines.append("  User name: the whole address.  Authentication: normal password.")
    if ca is not None:
        lines.append(f"  Certificate (self-signed, to be trusted once): {ca}")
    lines += ["", "To paste"]
    lines += [f"  {line}" for line in _commands(accounts[0], at, ca)]
    return "\n".join([*lines, "", ""])


def _settings(at: Mapping[str, Place]) -> Iterable[tuple[str, str, str, str]]:
    yield "", "Server", "Port", "Security"
    for service, direction, security in (
        ("pop3s", "Incoming (POP3)", "SSL/TLS"),
        ("pop3", "Incoming (POP3)", "STARTTLS"),
        ("submissions", "Outgoing (SMTP)", "SSL/TLS"),
        ("submission", "Outgoing (SMTP)", "STARTTLS"),
        ("smtp", "From other servers", "STARTTLS, if they like"),
    ):
        if service in at:
            yield direction, at[service].host, str(at[service].port), security


def _table(rows: Iterable[tuple[str, ...]]) -> Iterable[str]:
    rows = list(rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _commands(account: PracticeAccount, at: Mapping[str, Place], ca: Path | None) -> Iterable[str]:
    """Lines that work as they are: a letter from outside, a letter submitted, the mailbox fetched."""
    who, password = str(account.mailbox), account.password or "PASSWORD"
    trust = f"--cacert {ca} " if ca is not None else ""
    letter = "printf 'Subject: hello\\r\\n\\r\\nIt works.\\r\\n'"
    if "smtp" in at:
        place = at["smtp"]
        yield f"swaks --server {place.host}:{place.port} --from stranger@outside.example --to {who}"
        yield (
            f"{letter} | curl -sS --url smtp://{place.host}:{place.port} "
            f"--mail-from stranger@outside.example --mail-rcpt {who} -T -"
        )
    if "submission" in at:
        place = at["submission"]
        verify = f"--tls-verify --tls-ca-path {ca} " if ca is not None else "--tls-verify "
        yield (
            f"swaks --server {place.host}:{place.port} -tls {verify}--auth PLAIN --auth-user {who} "
            f"--auth-password {password} --from {who} --to {who}"
        )
        yield (
            f"{letter} | curl -sS {trust}--ssl-reqd --url smtp://{place.host}:{place.port} --user {who}:{password} "
            f"--mail-from {who} --mail-rcpt {who} -T -"
        )
    if "pop3s" in at:
        place = at["pop3s"]
        # The list; with a 1 at the end of the address, the first letter.
        yield f"curl -sS {trust}pop3s://{place.host}:{place.port}/ --user {who}:{password}"
