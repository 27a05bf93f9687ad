"""The table `[doctor]`: what is looked at each day, and whom it may ask."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated

from attrs import frozen

from mailserver.config import values
from mailserver.config.fault import Wrong
from mailserver.config.values import Rule, list_of, text
from mailserver.mail.dns import IpAddress

# Zones that large receivers look at, and that a small server may ask without a contract (survey.lists knows them).
DEFAULT_LISTS = ("zen.spamhaus.org", "bl.spamcop.net", "psbl.surriel.com")
DEFAULT_PORT25_DOMAINS = ("gmail.com", "outlook.com", "icloud.com")


def _address(value: object, base: Path) -> IpAddress:
    del base
    try:
        return ipaddress.ip_address(text(value))
    except ValueError:
        raise Wrong('must be an address such as "192.0.2.7" or "2001:db8::7"') from None


def _url(value: object, base: Path) -> str:
    del base
    written = text(value)
    if written and re.fullmatch(r"https?://[!-~]+", written, re.ASCII) is None:
        raise Wrong('must be an address such as "https://www.example.net/", or empty')
    return written


@frozen
class Doctor:
    """`daily`: whether the server looks each day and writes to the postmaster. The rest is for `mailserver doctor` too.

    `addresses` are the public addresses, where the machine cannot see them itself; `lists` the zones of DNS lists that
    are asked about them. `port25_domains` are tried by the command only.
    """

    daily: Annotated[bool, values.boolean] = True
    addresses: Annotated[tuple[IpAddress, ...], list_of(Rule(_address), "addresses", '["192.0.2.7"]')] = ()
    address_url: Annotated[str, Rule(_url)] = ""
    lists: Annotated[tuple[str, ...], list_of(values.domain, "zones", '["zen.spamhaus.org"]')] = DEFAULT_LISTS
    port25_domains: Annotated[tuple[str, ...], list_of(values.domain, "domains", '["gmail.com"]')] = (
        DEFAULT_PORT25_DOMAINS
    )
    signed_name: Annotated[str, values.domain] = "org"
    clock_url: Annotated[str, Rule(_url)] = ""
