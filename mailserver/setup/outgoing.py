"""How mail leaves: directly or through a smarthost, by which address family, from which resolver. Pure."""

from collections.abc import Iterator

from mailserver.setup.values import Answers, Decision, Errand, Existing, Here
from mailserver.survey.values import Behind, Port25, PublicAddress, Survey

UNBOUND = ("apt install unbound", "mailserver setup {domain}")
_ASK = "your provider's host and login are needed"


def why_smarthost(survey: Survey) -> str:
    """Why mail cannot be sent directly from here; empty when it can, or when nothing says that it cannot."""
    if survey.outward.port25 is Port25.BLOCKED:
        return "port 25 does not go out from here"
    if survey.behind is Behind.CARRIER_NAT:
        return "this line shares its address with other customers of the provider (carrier NAT)"
    ipv4 = survey.address(4)
    if ipv4 is not None and ipv4.residential_on:
        lists = ", ".join(ipv4.residential_on)
        return f"{ipv4.address} is a home connection by {lists}, and large receivers take no mail from there"
    return ""


def smarthost_reason(survey: Survey) -> str:
    """Whatever speaks for a smarthost; empty when nothing does."""
    return why_smarthost(survey) or _advised(survey)


def _advised(survey: Survey) -> str:
    """What speaks for a smarthost and can be mended."""
    ipv4 = survey.address(4)
    if ipv4 is not None and not ipv4.reverse_names and not ipv4.reverse_trouble:
        return f"{ipv4.address} has no reverse name, and many refuse mail from there"
    return ""


def smarthost(survey: Survey, answers: Answers, existing: Existing, password_file: str) -> Decision:
    """Direct or through a smarthost."""
    reason = smarthost_reason(survey)
    if answers.smarthost:
        return _through(answers, existing, reason or "you said so", password_file)
    own = existing.settings.get("relay.smarthost")
    if isinstance(own, str) and own:
        # Said once, it stays: setup alone would not know it again.
        kept = {key: existing.settings[key] for key in _KEYS if key in existing.settings}
        says = f"mail goes out through {own}"
        return Decision("outgoing", says, reason or "it is so in your configuration", kept)  # type: ignore[arg-type]
    if why_smarthost(survey):
        says = f"mail goes through a smarthost; {_ASK}"
        return Decision("outgoing", says, reason, {"relay.smarthost": ""})
    if reason:
        says = "mail goes out directly, and waits for a reverse name of the address or for a smarthost"
        return Decision("outgoing", says, reason, {"relay.smarthost": ""})
    known = {
        Port25.OPEN: "port 25 goes out from here, and nothing speaks against the address",
        Port25.UNKNOWN: "nothing speaks against it; whether port 25 goes out could not be tried",
        Port25.BLOCKED: "",
    }[survey.outward.port25]
    return Decision("outgoing", "mail goes out directly", known, {"relay.smarthost": ""})


_KEYS = ("relay.smarthost", "relay.smarthost_tls", "relay.smarthost_username", "relay.smarthost_password_file")


def _through(answers: Answers, existing: Existing, reason: str, password_file: str) -> Decision:
    """A login belongs to its host: said for another one it is another, or none."""
    before = existing.settings
    login = answers.smarthost_username
    if not login and before.get("relay.smarthost") == answers.smarthost:
        login = str(before.get("relay.smarthost_username", ""))
        password_file = str(before.get("relay.smarthost_password_file", ""))
    settings = {
        "relay.smarthost": answers.smarthost,
        # 465 is TLS from the first octet (RFC 8314 3.3).
        "relay.smarthost_tls": "tls" if answers.smarthost.endswith(":465") else "starttls",
        "relay.smarthost_username": login,
        "relay.smarthost_password_file": password_file if login else "",
    }
    return Decision("outgoing", f"mail goes out through {answers.smarthost}", reason, settings)


def address_family(survey: Survey, existing: Existing, *, is_direct: bool) -> Decision:
    """IPv4 only where IPv6 would get mail refused."""
    ipv4, ipv6 = survey.address(4), survey.address(6)

    def auto(reason: str) -> Decision:
        return Decision("address-family", "IPv6 and IPv4 are both used", reason, {"relay.address_family": "auto"})

    if not is_direct:
        return auto("the smarthost takes mail by either")
    if ipv6 is None:
        return auto("this machine has no public IPv6 address now; should it get one, it is used")
    if ipv4 is None and survey.behind is Behind.NOTHING:
        return auto("there is no IPv4 here")
    trouble = _ipv6_trouble(ipv6)
    if not trouble and survey.outward.ipv6 is Port25.BLOCKED and survey.outward.ipv4 is Port25.OPEN:
        trouble = "port 25 goes out by IPv4 and not by IPv6"
    if trouble:
        return Decision("address-family", "mail is sent by IPv4 only", trouble, {"relay.address_family": "ipv4"})
    if ipv6.reverse_trouble and existing.settings.get("relay.address_family") == "ipv4":
        reason = f"it was so; the reverse name of {ipv6.address} could not be looked up now"
        return Decision("address-family", "mail is sent by IPv4 only", reason, {"relay.address_family": "ipv4"})
    if ipv6.reverse_trouble:
        return auto(f"the reverse name of {ipv6.address} could not be looked up; the server finds out as it sends")
    return auto(f"{ipv6.address} has a reverse name that leads back to it")


def _ipv6_trouble(ipv6: PublicAddress) -> str:
    if ipv6.reverse_trouble:
        return ""
    if not ipv6.reverse_names:
        return f"{ipv6.address} has no reverse name, and large receivers refuse IPv6 without one"
    if not ipv6.is_confirmed:
        return f"the reverse name of {ipv6.address} does not lead back to it, and large receivers refuse such IPv6"
    return ""


def resolver(survey: Survey, here: Here) -> Decision:
    """Name servers: those of the system, or the one on this machine that validates."""
    found = survey.validating_resolver
    if here.is_offline:
        return Decision("resolver", "the name servers stay as they are", "nobody was asked whether they check DNSSEC")
    if found is None:
        reason = "no resolver on this machine checks DNSSEC, so DANE of others cannot be followed"
        return Decision("resolver", "the system's name servers are asked", reason, {"dns.servers": ()})
    address, port = found
    written = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    if here.name_servers and here.name_servers[0] == found:
        reason = f"{written} checks DNSSEC, so DANE of others is followed"
        return Decision("resolver", "the system's name servers are asked", reason, {"dns.servers": ()})
    says, reason = f"{written} is asked", "it checks DNSSEC, and those of the system do not on this machine"
    return Decision("resolver", says, reason, {"dns.servers": (written,)})


def errands(survey: Survey, answers: Answers, here: Here, *, hostname: str, smarthost: str) -> Iterator[Errand]:
    """What is left to the owner so that mail goes out and is taken."""
    why = why_smarthost(survey)
    if why and not smarthost:
        yield Errand(
            f"{why}: ask your provider for a mail host that takes your mail (a smarthost), its login and password; or "
            "ask for port 25 to be opened, or rent a small machine where it is open",
            (f"mailserver setup {answers.domain} --smarthost HOST:587",),
            is_needed=True,
        )
    if not smarthost and not why:
        yield from _reverse_names(survey, hostname)
    for one in survey.addresses:
        if one.listed_on and not smarthost:
            yield Errand(
                f"{one.address} is listed by {', '.join(one.listed_on)} as a source of spam: have it taken off, on the "
                "pages of these lists, or ask your provider for another address"
            )
    if survey.validating_resolver is None and not here.is_offline:
        commands = tuple(one.format(domain=answers.domain) for one in UNBOUND)
        yield Errand(
            "a resolver on this machine that checks DNSSEC lets the server follow DANE (TLS that cannot be stripped)",
            commands,
        )
    if survey.time.is_right is False:
        yield Errand(f"the clock is wrong: {survey.time.words}", ("apt install systemd-timesyncd",), is_needed=True)


def _reverse_names(survey: Survey, hostname: str) -> Iterator[Errand]:
    for one in survey.addresses:
        names = [name.lower().removesuffix(".") for name in one.reverse_names]
        if one.reverse_trouble or hostname in names:
            continue
        has = f"is {one.reverse_names[0]}" if one.reverse_names else "is missing"
        yield Errand(
            f"the reverse name (PTR) of {one.address} {has}: ask the provider of the address, often on its web pages, "
            f"to set it to {hostname}",
            is_needed=not one.reverse_names and one.address.version == 4,
        )
