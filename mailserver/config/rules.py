"""Rules between keys: what is right by itself and wrong together, and what is allowed but unwise.

Errors and warnings are `key: value: text`; the loader puts the file's name before them.
"""

import os
from collections.abc import Iterator

import attrs

from mailserver.config.acme import broken_acme_rules, unwise_acme, unwise_acme_port
from mailserver.config.fault import shown
from mailserver.config.junk import unwise_junk
from mailserver.config.listeners import Listener, ListenerCheck
from mailserver.config.own_mta_sts import unwise_mta_sts
from mailserver.config.reports import unwise_reports
from mailserver.config.schema import AuthWithoutTls, Check, Config, DmarcUse, Listen, Relay, SmarthostTls, SpfFail
from mailserver.mail.fault import SyntaxFault

# sun_path has 108 octets on Linux, the last is NUL. The service's name for the socket is here only to be measured.
_MAX_SOCKET_PATH_OCTETS = 107
_SOCKET_NAME = "control.sock"

# A listener's key and string, and what the string means.
_Bound = list[tuple[str, str, Listener]]


def broken_rules(config: Config, check_listener: ListenerCheck | None) -> list[str]:
    """Every rule between keys that is broken."""
    errors: list[str] = []
    if check_listener is not None:
        bound, wrong_listeners = _listeners(config, check_listener)
        errors += wrong_listeners
        errors += _collisions(bound)
        errors += _practice_reachable(config, bound)
    errors += _accounts_elsewhere(config)
    errors += _folders(config)
    errors += _tls(config)
    errors += broken_acme_rules(config)
    errors += _relay(config)
    return errors


def unwise(config: Config, check_listener: ListenerCheck | None) -> list[str]:
    """What works and is probably not meant."""
    warnings: list[str] = []
    if "." not in config.hostname:
        warnings.append(
            f"hostname: {shown(config.hostname)}: this is not a full name; other servers may refuse mail from it"
        )
    if not any(getattr(config.listen, field.name) for field in attrs.fields(Listen)):
        warnings.append("listen: every list is empty; the server takes no connections, it only sends what is queued")
    if check_listener is not None:
        bound, _ = _listeners(config, check_listener)
        warnings += _clear_passwords(config, bound)
        warnings += _believing_anybody(bound)
        warnings += unwise_acme_port(config, [at.port for key, _, at in bound if key.startswith("listen.http[")])
    warnings += unwise_acme(config)
    warnings += unwise_mta_sts(config)
    warnings += unwise_junk(config)
    warnings += unwise_reports(config)
    if config.storage.state in config.sendmail.drop.parents and not config.practice.accounts:
        warnings.append(
            f"sendmail.drop: {shown(str(config.sendmail.drop))}: lies within storage.state, which no other user can "
            "enter; the sendmail command would work for the server's own user only"
        )
    if config.authentication.spf_fail is SpfFail.REFUSE and config.authentication.spf is Check.OFF:
        warnings.append('authentication.spf_fail: "refuse": with authentication.spf = "off" this has no effect')
    if _enforces_dmarc(config) and Check.OFF in (config.authentication.spf, config.authentication.dkim):
        warnings.append(
            'authentication.dmarc: "enforce": without both authentication.spf and authentication.dkim = "check" this '
            "has no effect"
        )
    if config.relay.smarthost is None:
        for key in ("smarthost_username", "smarthost_password_file", "smarthost_ca_file"):
            if getattr(config.relay, key):
                value = shown(str(getattr(config.relay, key)))
                warnings.append(f"relay.{key}: {value}: without relay.smarthost this has no effect")
        if config.relay.smarthost_domains:
            value = shown(list(config.relay.smarthost_domains))
            warnings.append(f"relay.smarthost_domains: {value}: without relay.smarthost this has no effect")
        if config.relay.smarthost_after:
            value = str(config.relay.smarthost_after)
            warnings.append(f"relay.smarthost_after: {value}: without relay.smarthost this has no effect")
    return warnings


# --- listeners --------------------------------------------------------------------------------------------------------


def _listeners(config: Config, check_listener: ListenerCheck) -> tuple[_Bound, list[str]]:
    bound: _Bound = []
    errors = []
    for field in attrs.fields(Listen):
        for index, written in enumerate(getattr(config.listen, field.name)):
            listener = check_listener(written)
            key = f"listen.{field.name}[{index}]"
            if isinstance(listener, SyntaxFault):
                errors.append(f"{key}: {shown(written)}: {listener.reason}")
            else:
                bound.append((key, written, listener))
    return bound, errors


def _collisions(bound: _Bound) -> Iterator[str]:
    for index, (key, written, listener) in enumerate(bound):
        for other_key, other_written, other in bound[:index]:
            if listener.collides_with(other):
                yield f"{key}: {shown(written)}: {_why_they_collide(listener, other, other_key, other_written)}"
                break


def _why_they_collide(listener: Listener, other: Listener, other_key: str, other_written: str) -> str:
    where = f"{other_key} ({shown(other_written)})"
    if listener.path:
        return f"must be another path: {where} has this one"
    if listener.address == other.address:
        return f"must be another port: {where} has this one"
    return (
        f"must be another port: {where} takes it too; tcp: without interface= listens on IPv4 and IPv6 at once, "
        "and tcp6: takes IPv4 with it"
    )


def _practice_reachable(config: Config, bound: _Bound) -> Iterator[str]:
    if not config.practice.accounts:
        return
    for key, written, listener in bound:
        if not listener.is_loopback:
            yield (
                f"{key}: {shown(written)}: must listen on loopback only, such as "
                f"{shown(f'tcp:{listener.port or 2525}:interface=127.0.0.1')}, as long as practice.accounts is set"
            )


def _clear_passwords(config: Config, bound: _Bound) -> Iterator[str]:
    for service, auth_without_tls in (
        ("submission", config.submission.auth_without_tls),
        ("pop3", config.pop3.auth_without_tls),
    ):
        is_reachable = any(key.startswith(f"listen.{service}[") and not at.is_loopback for key, _, at in bound)
        if auth_without_tls is AuthWithoutTls.ALWAYS and is_reachable:
            yield f'{service}.auth_without_tls: "always": passwords cross the network where anybody can read them'


def _believing_anybody(bound: _Bound) -> Iterator[str]:
    for key, written, listener in bound:
        if listener.is_proxied and not listener.is_loopback:
            yield (
                f"{key}: {shown(written)}: whoever reaches it may claim any address, those in trusted_networks too; "
                "let a firewall, or an interface= of its own, keep everybody but the proxy away"
            )


# --- the rest ---------------------------------------------------------------------------------------------------------


def _accounts_elsewhere(config: Config) -> Iterator[str]:
    for index, mailbox in enumerate(config.practice.accounts):
        if mailbox.domain not in config.domains:
            ours = ", ".join(config.domains)
            yield f"practice.accounts[{index}]: {shown(str(mailbox))}: must be in one of domains ({ours})"
    for domain, target in config.relay.routes.items():
        if domain in config.domains:
            yield (
                f'relay.routes."{domain}": {shown(str(target))}: must be a domain of somebody else; '
                "the mail of one in domains is kept here"
            )

    for index, domain in enumerate(config.relay.smarthost_domains):
        if domain in config.domains:
            yield (
                f"relay.smarthost_domains[{index}]: {shown(domain)}: must be a domain of somebody else; "
                "the mail of one in domains is kept here"
            )


def _folders(config: Config) -> Iterator[str]:
    maildirs, state = config.storage.maildirs, config.storage.state
    if state == maildirs or maildirs in state.parents:
        yield f"storage.state: {shown(str(state))}: must be outside storage.maildirs ({maildirs})"
    socket = os.fsencode(state / _SOCKET_NAME)
    if len(socket) > _MAX_SOCKET_PATH_OCTETS:
        yield (
            f"storage.state: {shown(str(state))}: must be a shorter path: its control socket would have "
            f"{len(socket)} octets, and the system allows {_MAX_SOCKET_PATH_OCTETS}"
        )
    drop = config.sendmail.drop
    if drop in (maildirs, state) or maildirs in drop.parents:
        yield f"sendmail.drop: {shown(str(drop))}: must be a folder of its own"
    if config.accounts.file in (maildirs, state):
        yield f"accounts.file: {shown(str(config.accounts.file))}: must be a file, and this is a folder of [storage]"


def _tls(config: Config) -> Iterator[str]:
    certificate, private_key = config.tls.certificate, config.tls.private_key
    if certificate and not private_key:
        yield 'tls.private_key: "": must name the key that belongs to tls.certificate'
    if private_key and not certificate:
        yield 'tls.certificate: "": must name the certificate that belongs to tls.private_key'


def _relay(config: Config) -> Iterator[str]:
    relay = config.relay
    if relay.smarthost_username and not relay.smarthost_password_file:
        yield 'relay.smarthost_password_file: "": must name a file with the password of relay.smarthost_username'
    if relay.smarthost_password_file and not relay.smarthost_username:
        yield 'relay.smarthost_username: "": must be set when relay.smarthost_password_file is'
    if _says_password_in_clear(relay):
        yield (
            'relay.smarthost_tls: "none": must be "starttls" or "tls": a password is sent without TLS only to a '
            f"loopback host, which {relay.smarthost} is not"
        )


def _enforces_dmarc(config: Config) -> bool:
    wanted = config.authentication
    return DmarcUse.ENFORCE in (wanted.dmarc, *wanted.dmarc_overrides.values())


def _says_password_in_clear(relay: Relay) -> bool:
    return bool(
        relay.smarthost
        and relay.smarthost_username
        and relay.smarthost_tls is SmarthostTls.NONE
        and not relay.smarthost.is_loopback
    )
