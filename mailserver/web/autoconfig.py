"""The settings of this server as mail programs ask for them: Thunderbird and its relatives, and Outlook. Pure.

Thunderbird fetches `config-v1.1.xml`; Outlook posts a request and reads POX Autodiscover. What a client sends is never
read by an XML parser: the one thing of interest is an address, found by a bounded pattern.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from xml.sax.saxutils import escape

from mailserver.mail.address import Mailbox, parse_mailbox
from mailserver.mail.fault import SyntaxFault

MAX_ADDRESS_CHARS = 320
_ADDRESS = re.compile(rb"<(?:[A-Za-z0-9]{1,20}:)?EMailAddress>[ \t\r\n]{0,20}([^<>&\x00-\x20]{3,320})[ \t\r\n]{0,20}</")
_OUTLOOK = "http://schemas.microsoft.com/exchange/autodiscover/"


class Security(Enum):
    """How a connection becomes private."""

    TLS = "SSL"  # from the first octet
    STARTTLS = "STARTTLS"


# What mail programs use, the better first: service, whether mail is fetched or sent, security, the usual port.
_SERVICES = (
    ("pop3s", "pop3", Security.TLS, 995),
    ("pop3", "pop3", Security.STARTTLS, 110),
    ("submissions", "smtp", Security.TLS, 465),
    ("submission", "smtp", Security.STARTTLS, 587),
)


@dataclass(frozen=True, slots=True)
class Service:
    """One way to fetch (`pop3`) or send (`smtp`) mail."""

    kind: str
    port: int
    security: Security


@dataclass(frozen=True, slots=True)
class MailSettings:
    """Where mail is fetched and sent, the better way first; the login is always the whole address."""

    hostname: str
    services: tuple[Service, ...]


def settings_of(hostname: str, listening: Iterable[tuple[str, int]]) -> MailSettings:
    """From `(service, port)` of every listener; port 0, which is not known here, stands for the usual one."""
    ports: dict[str, int] = {}
    for name, port in listening:
        ports.setdefault(name, port)
    services = (
        Service(kind, ports[name] or usual, security) for name, kind, security, usual in _SERVICES if name in ports
    )
    return MailSettings(hostname, tuple(services))


def thunderbird(settings: MailSettings, domain: str) -> bytes:
    """`config-v1.1.xml` for one domain of ours. The login is a placeholder, so that nothing of a client is in it."""
    return "\n".join(_thunderbird(settings, domain)).encode("ascii")


def _thunderbird(settings: MailSettings, domain: str) -> Iterator[str]:
    name = escape(domain)
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield '<clientConfig version="1.1">'
    yield f'  <emailProvider id="{name}">'
    yield f"    <domain>{name}</domain>"
    yield f"    <displayName>{name}</displayName>"
    yield f"    <displayShortName>{name}</displayShortName>"
    for one in settings.services:
        tag = "incomingServer" if one.kind == "pop3" else "outgoingServer"
        yield f'    <{tag} type="{one.kind}">'
        yield f"      <hostname>{escape(settings.hostname)}</hostname>"
        yield f"      <port>{one.port}</port>"
        yield f"      <socketType>{one.security.value}</socketType>"
        yield "      <username>%EMAILADDRESS%</username>"
        # Cleartext within TLS; what they call encrypted is CRAM-MD5, which would need passwords kept in clear.
        yield "      <authentication>password-cleartext</authentication>"
        yield f"    </{tag}>"
    yield "  </emailProvider>"
    yield "</clientConfig>"
    yield ""


def asked_address(body: bytes) -> Mailbox | None:
    """The address in an Autodiscover request; None when there is none that is an address."""
    found = _ADDRESS.search(body)
    return read_address(found[1].decode("utf-8", "replace")) if found else None


def read_address(text: str) -> Mailbox | None:
    """An address with its domain, or None."""
    if len(text) > MAX_ADDRESS_CHARS:
        return None
    mailbox = parse_mailbox(text)
    return None if isinstance(mailbox, SyntaxFault) or not mailbox.domain else mailbox


def outlook(settings: MailSettings, mailbox: Mailbox) -> bytes:
    """The answer to an Autodiscover request (MS-OXDSCLI, POX), the best way of each kind."""
    best = {one.kind: one for one in reversed(settings.services)}
    return "\n".join(_outlook(settings.hostname, best, str(mailbox))).encode("utf-8")


def _outlook(hostname: str, best: dict[str, Service], login: str) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="utf-8"?>'
    yield f'<Autodiscover xmlns="{_OUTLOOK}responseschema/2006">'
    yield f'  <Response xmlns="{_OUTLOOK}outlook/responseschema/2006a">'
    yield "    <Account>"
    yield "      <AccountType>email</AccountType>"
    yield "      <Action>settings</Action>"
    for kind in ("pop3", "smtp"):
        if kind not in best:
            continue
        one = best[kind]
        yield "      <Protocol>"
        yield f"        <Type>{kind.upper()}</Type>"
        yield f"        <Server>{escape(hostname)}</Server>"
        yield f"        <Port>{one.port}</Port>"
        yield f"        <LoginName>{escape(login)}</LoginName>"
        yield "        <DomainRequired>off</DomainRequired>"
        yield "        <SPA>off</SPA>"
        yield f"        <SSL>{'on' if one.security is Security.TLS else 'off'}</SSL>"
        yield f"        <Encryption>{'SSL' if one.security is Security.TLS else 'TLS'}</Encryption>"
        yield "        <AuthRequired>on</AuthRequired>"
        if kind == "smtp":
            yield "        <UsePOPAuth>off</UsePOPAuth>"
            yield "        <SMTPLast>off</SMTPLast>"
        yield "      </Protocol>"
    yield "    </Account>"
    yield "  </Response>"
    yield "</Autodiscover>"
    yield ""
