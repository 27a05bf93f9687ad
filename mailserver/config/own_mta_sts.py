"""The table `[mta_sts]`: what we ask of those who send mail to us (RFC 8461), and the rules about it."""

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from attrs import frozen

from mailserver.config.fault import Wrong, shown
from mailserver.config.values import Rule, choice, duration, list_of, text
from mailserver.config.values import host_name as read_host_name
from mailserver.mail.mta_sts import StsMode, StsPolicy

if TYPE_CHECKING:
    from mailserver.config.schema import Config

# RFC 8461 3.2: the upper bound of max_age is 31557600 seconds, a year and six hours.
_MAX_AGE_S = 31557600.0
_SHORT_AGE_S = 86400.0


class OwnStsMode(Enum):
    """What is published: nothing at all, or a policy with this mode."""

    OFF = "off"
    NONE = "none"  # others shall forget the policy that was there
    TESTING = "testing"
    ENFORCE = "enforce"


def _max_age(value: object, base: Path) -> float:
    seconds = duration().read(value, base)
    if not isinstance(seconds, float) or not 1 <= seconds <= _MAX_AGE_S:
        raise Wrong('must be from "1s" to "365d"')
    return seconds


def _host(value: object, base: Path) -> str:
    """A host name, or `*.` and one: that stands for exactly one label (RFC 8461 4.1)."""
    written = text(value)
    star = "*." if written.startswith("*.") else ""
    return f"{star}{read_host_name.read(written[len(star) :], base)}"


@frozen
class OwnMtaSts:
    """`max_age` in seconds; without `mx` the policy names hostname."""

    mode: Annotated[OwnStsMode, choice(OwnStsMode)] = OwnStsMode.OFF
    max_age: Annotated[float, Rule(_max_age)] = 7 * 86400.0
    mx: Annotated[tuple[str, ...], list_of(Rule(_host), "host names", '["mail.example.org"]')] = ()


def own_policy(config: "Config") -> StsPolicy | None:
    """The policy of every domain of ours, or None when there is none."""
    wanted = config.mta_sts
    if wanted.mode is OwnStsMode.OFF:
        return None
    return StsPolicy(StsMode(wanted.mode.value), wanted.mx or (config.hostname,), int(wanted.max_age))


def unwise_mta_sts(config: "Config") -> Iterator[str]:
    """What works and is probably not meant."""
    wanted = config.mta_sts
    if wanted.mode is OwnStsMode.OFF:
        return
    mode = f"mta_sts.mode: {shown(wanted.mode.value)}"
    if not config.listen.https:
        yield f"{mode}: without listen.https this server does not show the policy; another web server has to"
    elif not config.acme.is_on and config.tls.certificate is None:
        yield (
            f"{mode}: others take the policy only with a certificate they trust for mta-sts.DOMAIN, and this server's "
            "is of its own making: set [acme] directory or [tls] certificate"
        )
    if wanted.mode is OwnStsMode.ENFORCE and wanted.max_age < _SHORT_AGE_S:
        yield (
            f'mta_sts.max_age: {wanted.max_age:g} s: with mode = "enforce" this is short: who can keep others from the '
            "policy host for that long can take its protection away; some receivers want a day at least"
        )
