"""`mailserver check-config`: is the configuration right, and what will be served?

The files that the configuration names are looked into as well, because the server would refuse to start without them.
"""

import os
import time
from collections.abc import Iterator, Sized
from pathlib import Path

import click

from mailserver.cli.context import CliContext
from mailserver.cli.directory import load_accounts, remarks
from mailserver.config import AuthWithoutTls, BareNewlines, Config, SmarthostTls, Times
from mailserver.config.acme import wanted_names
from mailserver.destinations import PasswordFileTrouble, smarthost_route
from mailserver.mail.address import Mailbox
from mailserver.store.accounts import AccountsFile

_SERVICES = (
    ("smtp", "mail from other servers"),
    ("submission", "mail from your people, with STARTTLS"),
    ("submissions", "mail from your people, with TLS"),
    ("pop3", "fetching mail by POP3, with STLS"),
    ("pop3s", "fetching mail by POP3, with TLS"),
    ("http", "pages for certificate authorities and mail programs"),
    ("https", "pages with TLS, the MTA-STS policy among them"),
)


@click.command("check-config")
@click.pass_obj
def check_config(context: CliContext) -> None:
    """Check the configuration and tell what it means.

    Every error is told at once, with its key and what would be right; exit status 1 then.
    """
    config = context.config
    accounts = load_accounts(context)
    troubles = list(troubles_with_files(config))
    if troubles:
        context.refuse("\n".join(troubles))
    for line in _summary(config, accounts):
        context.say(line)
    for warning in (*config.warnings, *remarks(context, accounts), *_certificate_warnings(config)):
        context.warn(warning)


def troubles_with_files(config: Config) -> Iterator[str]:
    """What is wrong with the files that a configuration names, in the words the server would say at its start."""
    try:
        smarthost_route(config)
    except PasswordFileTrouble as trouble:
        yield f"{config.path}: {trouble}"
    if config.relay.smarthost_ca_file is not None:
        yield from _unreadable(config, "relay.smarthost_ca_file", config.relay.smarthost_ca_file)
    if config.tls.certificate is not None and config.tls.private_key is not None:
        from mailserver.net.tls import CertificateFiles, CertificateTrouble, ServerTls

        try:
            ServerTls(CertificateFiles(config.tls.certificate, config.tls.private_key))
        except CertificateTrouble as trouble:
            yield f"{config.path}: tls: {trouble}"


def _unreadable(config: Config, key: str, path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        yield f'{config.path}: {key}: "{path}": cannot be read: {(error.strerror or str(error)).lower()}'


def _certificate_warnings(config: Config) -> Iterator[str]:
    if config.acme.is_on:
        if config.acme.dns_hook is not None and not os.access(config.acme.dns_hook, os.X_OK):
            yield f'{config.path}: acme.dns_hook: "{config.acme.dns_hook}": is not a program that can be run'
        for key in ("ca_file", "eab_key_file"):
            path: Path | None = getattr(config.acme, key)
            if path is not None:
                yield from _unreadable(config, f"acme.{key}", path)
    if config.tls.certificate is None or config.tls.private_key is None:
        return
    from mailserver.net.tls import CertificateFiles, ServerTls

    facts = ServerTls(CertificateFiles(config.tls.certificate, config.tls.private_key)).facts
    for warning in facts.warnings(config.hostname, time.time()):
        yield f"{config.path}: tls.certificate: {warning}"


_SHOWN_ACCOUNTS = 5

# --- in plain words ---------------------------------------------------------------------------------------------------


def _summary(config: Config, accounts: AccountsFile) -> Iterator[str]:
    yield f"{config.path}: no errors"
    yield ""
    yield f"{config.hostname} keeps the mail of {', '.join(config.domains)}."
    yield f"postmaster: {config.postmaster}"
    yield f"accounts: {_accounts(config, accounts)}"
    yield from _logins(config, accounts)
    yield f"mail: {config.storage.maildirs}"
    yield f"queue and state: {config.storage.state}"
    yield f"new mail is put off when less than {_octets(config.storage.min_free)} are free on either disk"
    yield ""
    yield from _listening(config)
    yield f"certificate: {_certificate(config)}"
    yield f"messages up to {_octets(config.smtp.max_message_size)}, to {config.smtp.max_recipients} recipients each"
    yield from _exceptions(config)
    yield ""
    yield from _outgoing(config)


def _certificate(config: Config) -> str:
    if config.acme.is_on:
        names = ", ".join(wanted_names(config))
        return f"for {names}, obtained from {config.acme.directory} over {config.acme.challenge.value}"
    return str(config.tls.certificate or "self-signed, made at the first start")


def _accounts(config: Config, accounts: AccountsFile) -> str:
    tables = accounts.tables
    counts = f"{_count(tables.accounts, 'account')}, {_count(tables.aliases, 'alias')} in {config.accounts.file}"
    made = [str(mailbox) for mailbox in config.practice.accounts if tables.account(mailbox) is None]
    return counts + (f"; made at the first start, for practice: {', '.join(made)}" if made else "")


def _logins(config: Config, accounts: AccountsFile) -> Iterator[str]:
    """Whether SCRAM is offered, and who holds it up."""
    tables = accounts.tables
    if not config.auth.scram:
        yield "logins: PLAIN and LOGIN"
    elif tables.offers_scram:
        yield "logins: PLAIN, LOGIN and SCRAM"
    elif tables.credentials:
        without = [
            str(tables.accounts[folded].mailbox)
            for folded, one in sorted(tables.credentials.items())
            if tables.accounts[folded].is_enabled and not one.has_all_keys
        ]
        shown = ", ".join(without[:_SHOWN_ACCOUNTS]) + (", ..." if len(without) > _SHOWN_ACCOUNTS else "")
        yield (
            f"logins: PLAIN and LOGIN; SCRAM too, once these have logged in: {shown}"
            if shown
            else ("logins: PLAIN and LOGIN")
        )


def _count(entries: Sized, word: str) -> str:
    plural = "es" if word.endswith("s") else "s"
    return f"{len(entries)} {word}{'' if len(entries) == 1 else plural}"


def _listening(config: Config) -> Iterator[str]:
    for key, what in _SERVICES:
        listeners: tuple[str, ...] = getattr(config.listen, key)
        yield f"{what}: {', '.join(listeners) or 'off'}"


def _exceptions(config: Config) -> Iterator[str]:
    """What is looser than the defaults; somebody should know that it is."""
    if config.smtp.auth:
        yield "passwords are taken on the SMTP listeners too"
    for network in config.smtp.trusted_networks:
        yield f"{network} may send to anybody without a password"
    for what, auth_without_tls in (
        ("sending", config.submission.auth_without_tls),
        ("fetching", config.pop3.auth_without_tls),
    ):
        if auth_without_tls is AuthWithoutTls.ALWAYS:
            yield f"passwords for {what} are taken without TLS"
        elif auth_without_tls is AuthWithoutTls.LOOPBACK:
            yield f"passwords for {what} are taken without TLS from this machine"
    if config.submission.bare_newlines is BareNewlines.REPAIR:
        yield "bare line ends in messages of your own people are repaired"


def _outgoing(config: Config) -> Iterator[str]:
    from mailserver.cli.route import next_hop

    relay = config.relay
    for domain in relay.routes:
        yield f"mail for {domain}: to {next_hop(config, Mailbox('', domain))}"
    if relay.smarthost is None:
        yield "other outgoing mail: to the mail servers that DNS names for each domain (MX)"
    else:
        yield f"other outgoing mail: to {next_hop(config, Mailbox('', ''))}"
        if relay.smarthost_tls is not SmarthostTls.NONE:
            yield f"its certificate is verified, against {relay.smarthost_ca_file or 'the authorities of this system'}"
    servers = ", ".join(f"{host} port {port}" for host, port in config.dns.servers)
    yield f"name servers: {servers or 'those of the system'}"
    yield _times(relay.times_for(""))
    for domain in relay.schedule:
        yield f"mail for {domain} and domains below it: {_times(relay.times_for(domain))}"


def _times(times: Times) -> str:
    waits = ", ".join(map(_time, times.retry))
    told = f"told to be late after {_time(times.delay_notice_after)}" if times.delay_notice_after else "no delay notice"
    again = f"tried again after {waits}, then every {_time(times.retry[-1])}"
    return f"{again}; {told}; given up after {_time(times.expire_after)}"


def _time(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


def _octets(octets: int) -> str:
    for unit, length in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if octets >= length:
            return f"{octets / length:g} {unit}"
    return f"{octets} octets"
