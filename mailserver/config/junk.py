"""The tables `[junk]`, `[[dnsbl]]` and `[rspamd]`: what counts as junk, and where it goes. All wrong keys at once."""

import re
from collections.abc import Iterator
from enum import Enum
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from attrs import fields, frozen

from mailserver.config import values
from mailserver.config.fault import Wrong, Wrongs, nearest, shown
from mailserver.config.values import HostPort, Rule, choice, duration, list_of, size, text, whole_number
from mailserver.mail.junk import JunkDelivery
from mailserver.mail.peer import IpNetwork
from mailserver.mail.reply import printable

if TYPE_CHECKING:
    from mailserver.config.schema import Config

_MAX_WEIGHT = 100
_MAX_NAME_CHARS = 60
_ANSWER = 'must be an address such as "127.0.0.2", or several: "127.0.0.2-127.0.0.11", "127.0.0.0/28"'
_URL = 'must be where rspamd listens, such as "http://127.0.0.1:11333" or "unix:/run/rspamd/normal.sock", or empty'


def _number(value: object, base: Path) -> int:
    return int(str(whole_number(0, 1000).read(value, base)))


@frozen
class Junk:
    """`[junk]`: where junk goes, and from which sum of weights on a listed client sends some (0: never)."""

    deliver: Annotated[JunkDelivery, choice(JunkDelivery)] = JunkDelivery.INBOX
    dnsbl_junk: Annotated[int, Rule(_number)] = 1
    dnsbl_refuse: Annotated[int, Rule(_number)] = 2
    dnsbl_timeout: Annotated[float, duration()] = 2.0
    dnsbl_exempt: Annotated[tuple[IpNetwork, ...], list_of(values.network, "networks", '["192.0.2.0/24"]')] = ()


class WhenDown(Enum):
    """What happens to mail that rspamd cannot look at."""

    ACCEPT = "accept"
    DEFER = "defer"


@frozen
class RspamdAt:
    """Where rspamd listens: a host and a port, or a Unix socket."""

    tcp: HostPort | None = None
    socket: str = ""

    def __str__(self) -> str:
        return f"http://{self.tcp}" if self.tcp is not None else f"unix:{self.socket}"


def _url(value: object, base: Path) -> RspamdAt | None:
    del base
    written = text(value)
    if written == "":
        return None
    if written.startswith("unix:"):
        path = written.removeprefix("unix:")
        if not path.startswith("/"):
            raise Wrong(_URL)
        return RspamdAt(socket=path)
    found = re.fullmatch(r"http://([^/?#@]+)(/|/checkv2)?", written)
    if found is None:
        guess = "http://127.0.0.1:11333" if written in ("rspamd", "localhost", "127.0.0.1", "on", "true") else ""
        raise Wrong(_URL, did_you_mean=f'"{guess}"' if guess else "")
    host = found[1] if re.search(r":[0-9]+\Z", found[1]) else f"{found[1]}:11333"
    try:
        return RspamdAt(values.host_port(host))
    except Wrong:
        raise Wrong(_URL) from None


@frozen
class Rspamd:
    """`[rspamd]`: a filter beside us; `url` None is off."""

    url: Annotated[RspamdAt | None, Rule(_url)] = None
    password_file: Annotated[Path | None, values.optional_path] = None
    timeout: Annotated[float, duration()] = 10.0
    max_size: Annotated[int, size(minimum=1)] = 2_000_000
    when_down: Annotated[WhenDown, choice(WhenDown)] = WhenDown.ACCEPT
    logins: Annotated[bool, values.boolean] = False


@frozen
class AnswerRange:
    """Answers that count, both ends included."""

    first: IPv4Address
    last: IPv4Address


class ListLooksAt(Enum):
    """What a list knows about."""

    CLIENT = "client"
    DOMAIN = "domain"


@frozen
class Dnsbl:
    """One table `[[dnsbl]]`. `name` is shown to others; it is the zone when nothing else is said."""

    zone: str
    name: str = ""
    weight: int = 1
    answers: tuple[AnswerRange, ...] = ()
    looks_at: ListLooksAt = ListLooksAt.CLIENT


_KEYS = tuple(field.name for field in fields(Dnsbl))


def _tables(value: object, base: Path) -> tuple[Dnsbl, ...]:
    if not isinstance(value, list):
        raise Wrong("must be a list of tables: begin each with a line [[dnsbl]], in two pairs of brackets")
    found: list[Dnsbl] = []
    wrongs: list[tuple[str, object, Wrong]] = []
    for index, table in enumerate(value):
        if not isinstance(table, dict):
            wrongs.append((f"[{index}]", table, Wrong("must be a table: a line [[dnsbl]] with its keys below")))
            continue
        keys: dict[str, object] = {}
        faults: list[tuple[str, object, Wrong]] = []
        for key, written in table.items():
            try:
                keys[key] = _read(key, written, base)
            except Wrongs as several:
                faults += [(f"[{index}].{key}{where}", part, wrong) for where, part, wrong in several.parts]
            except Wrong as wrong:
                faults.append((f"[{index}].{printable(key)}", written, wrong))
        if "zone" not in table:
            faults.append((f"[{index}]", table, Wrong('must name its zone, such as zone = "zen.example.net"')))
        if not faults and any((one.zone, one.looks_at) == (keys["zone"], _kind(keys)) for one in found):
            faults.append((f"[{index}].zone", keys["zone"], Wrong("stands here twice")))
        wrongs += faults
        if not faults:
            found.append(Dnsbl(**keys))  # type: ignore[arg-type]
    if wrongs:
        raise Wrongs(wrongs)
    return tuple(found)


def _kind(keys: dict[str, object]) -> object:
    return keys.get("looks_at", ListLooksAt.CLIENT)


def _read(key: str, written: object, base: Path) -> object:
    match key:
        case "zone":
            return values.domain.read(written, base)
        case "name":
            name = text(written)
            if not name.isascii() or len(name) > _MAX_NAME_CHARS:
                raise Wrong(f"must be plain ASCII, at most {_MAX_NAME_CHARS} characters")
            return name
        case "weight":
            if not isinstance(written, int) or isinstance(written, bool) or not 0 < abs(written) <= _MAX_WEIGHT:
                raise Wrong(f"must be a whole number from 1 to {_MAX_WEIGHT}, or below 0 for a list of good ones")
            return written
        case "answers":
            return list_of(Rule(_answer), "answers", '["127.0.0.2-127.0.0.11"]', minimum=1).read(written, base)
        case "looks_at":
            return choice(ListLooksAt).read(written, base)
    raise Wrong("there is no such key", did_you_mean=nearest(key, _KEYS))


def _answer(value: object, base: Path) -> AnswerRange:
    del base
    written = text(value)
    try:
        if "/" in written:
            network = IPv4Network(written)
            found = AnswerRange(network[0], network[-1])
        else:
            first, _, last = written.partition("-")
            found = AnswerRange(IPv4Address(first.strip()), IPv4Address((last or first).strip()))
    except (AddressValueError, ValueError):
        raise Wrong(_ANSWER) from None
    if found.first > found.last or not all(one.is_loopback for one in (found.first, found.last)):
        raise Wrong(f"{_ANSWER}; lists answer with addresses that begin with 127.")
    return found


dnsbl_tables = Rule(_tables)


def unwise_junk(config: "Config") -> Iterator[str]:
    """What works and is probably not meant."""
    junk, rspamd = config.junk, config.rspamd
    if junk.dnsbl_refuse and junk.dnsbl_junk > junk.dnsbl_refuse:
        yield f"junk.dnsbl_junk: {junk.dnsbl_junk}: is never reached, since junk.dnsbl_refuse is {junk.dnsbl_refuse}"
    if config.dnsbl and not junk.dnsbl_junk and not junk.dnsbl_refuse:
        yield "junk.dnsbl_refuse: 0: with junk.dnsbl_junk = 0 as well, the lists in [[dnsbl]] have no effect"
    if rspamd.url is None:
        if rspamd.password_file is not None:
            yield f"rspamd.password_file: {shown(str(rspamd.password_file))}: without rspamd.url this has no effect"
    elif rspamd.url.tcp is not None and not rspamd.url.tcp.is_loopback:
        yield f"rspamd.url: {shown(str(rspamd.url))}: all mail crosses the network there where others can read it"
