"""From what was found, what was said and what is there to a plan: one pure function, `decide`.

What the owner set in the configuration by hand stays. What setup decided before changes when the facts did. What is
said on the command line counts before both.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mailserver.mail.address import Mailbox, parse_mailbox
from mailserver.setup import listening, outgoing, web
from mailserver.setup.keys import BY_NAME, KEYS
from mailserver.setup.values import (
    Answers,
    Decision,
    Errand,
    Existing,
    Here,
    Layout,
    Plan,
    Setting,
    Settings,
)
from mailserver.survey.values import Survey

_FIRST = "postmaster"


def decide(survey: Survey, answers: Answers, existing: Existing, layout: Layout, here: Here) -> Plan:
    """Everything that setup decides, each with its reason, and what is left to the owner."""
    said = _said(answers)
    answers = recalled(answers, existing)
    ports = listening.Ports(survey.taken, here, answers.port_offset, answers.uses_sockets)
    name = hostname(survey, answers, existing)
    domains = _domains(answers, existing)
    first, postmaster = _people(answers, existing)
    leaving = outgoing.smarthost(survey, answers, existing, str(layout.smarthost_password))
    host = leaving.settings.get("relay.smarthost", "")
    is_direct = not host and not outgoing.why_smarthost(survey)
    certificate = web.certificates(survey, answers, existing, here, ports)
    decisions = (
        name,
        Decision("domains", f"mail is kept for {', '.join(domains)}", "you said so", {"domains": domains}),
        Decision(
            "postmaster",
            f"{postmaster} gets what concerns the server",
            "it is so in your configuration" if "postmaster" in existing.settings else "the first account",
            {"postmaster": str(postmaster)},
        ),
        _places(layout, existing),
        listening.mail_ports(ports),
        certificate,
        web.pages(survey, answers, existing, certificate, ports),
        leaving,
        outgoing.address_family(survey, existing, is_direct=is_direct),
        outgoing.resolver(survey, here),
        *_addresses(survey, answers),
    )
    decided = _in_order(decisions)
    settings, ours, kept = _with_owners(decided, existing, said)
    return Plan(
        hostname=str(settings["hostname"]),
        domains=domains,
        postmaster=postmaster,
        first=first,
        decisions=decisions,
        settings=settings,
        decided=_noted(ours, decided, existing),
        errands=(
            *_program(layout, here),
            *listening.errands(survey, answers.domain, ports),
            *outgoing.errands(
                survey, answers, here, hostname=str(settings["hostname"]), smarthost=str(settings["relay.smarthost"])
            ),
            *web.errands(answers, certificate, existing),
        ),
        kept=kept,
        needs_smarthost=bool(outgoing.why_smarthost(survey)) and not settings["relay.smarthost"],
        smarthost_reason="" if settings["relay.smarthost"] else outgoing.smarthost_reason(survey),
        addresses=tuple(one.address for one in survey.addresses),
    )


def recalled(answers: Answers, existing: Existing) -> Answers:
    """With what was said at an earlier time and stands in the configuration, so that nobody has to say it again."""
    before = existing.settings
    hook, webroot, listening_at = before.get("acme.dns_hook"), before.get("acme.webroot"), before.get("listen.smtp")
    if not answers.dns_hook and not answers.webroot and isinstance(hook, str) and hook:
        answers = replace(answers, dns_hook=Path(hook))
    if not answers.dns_hook and not answers.webroot and isinstance(webroot, str) and webroot:
        answers = replace(answers, webroot=Path(webroot))
    first = str(listening_at[0]) if isinstance(listening_at, tuple) and listening_at else ""
    in_lab = re.fullmatch(r"tcp:([0-9]{1,5}):interface=127\.0\.0\.1", first, re.ASCII)
    if first.startswith("systemd:"):
        answers = replace(answers, uses_sockets=True)
    elif in_lab and not answers.port_offset:
        answers = replace(answers, port_offset=max(0, int(in_lab[1]) - listening.MAIL["smtp"]))
    return answers


def hostname(survey: Survey, answers: Answers, existing: Existing) -> Decision:
    """The name: said, there already, the one the address has below the domain, or the usual one."""

    def named(name: str, reason: str) -> Decision:
        return Decision("hostname", f"the server is called {name}", reason, {"hostname": name})

    own = existing.settings.get("hostname")
    if answers.hostname:
        return named(answers.hostname, "you said so")
    if isinstance(own, str) and own:
        return named(own, "it is so in your configuration")
    ipv4 = survey.address(4)
    if ipv4 is not None and ipv4.is_confirmed and len(ipv4.reverse_names) == 1:
        reverse = ipv4.reverse_names[0].lower().removesuffix(".")
        if reverse.endswith(f".{answers.domain}"):
            return named(reverse, f"that is the reverse name of {ipv4.address}, and it leads back to it")
    return named(usual_hostname(answers.domain), "that is the usual name")


def usual_hostname(domain: str) -> str:
    """What a mail server is called."""
    return f"mail.{domain}"


def _domains(answers: Answers, existing: Existing) -> tuple[str, ...]:
    """Those that are there, and the one that was said."""
    own = existing.settings.get("domains")
    before = own if isinstance(own, tuple) else ()
    return tuple(dict.fromkeys((*before, answers.domain)))


def _people(answers: Answers, existing: Existing) -> tuple[Mailbox | None, Mailbox]:
    """The account to be made, and the postmaster."""
    own = existing.settings.get("postmaster")
    known = parse_mailbox(own) if isinstance(own, str) else None
    if isinstance(known, Mailbox):
        return (Mailbox(answers.user, answers.domain) if answers.user else None), known
    first = Mailbox(answers.user or _FIRST, answers.domain)
    return first, first


def _places(layout: Layout, existing: Existing) -> Decision:
    """Chosen once: mail and state of a server that is there stay where they are, also when that is a default."""
    says = f"mail lies in {layout.maildirs}, everything else of the server's in {layout.state}"
    if existing.settings:
        return Decision("places", says, "it is so in your configuration")
    return Decision("places", says, "the usual places" if layout.user else "below the folder you named", layout.written)


def _addresses(survey: Survey, answers: Answers) -> Iterator[Decision]:
    """Those that the machine cannot see are written down, so that `mailserver dns` and `doctor` know them."""
    written = tuple(str(one) for one in answers.addresses)
    if written:
        says = f"the world reaches this server at {', '.join(written)}"
        yield Decision("addresses", says, "you said so", {"doctor.addresses": written})
    elif survey.addresses:
        says = f"the world reaches this server at {', '.join(str(one.address) for one in survey.addresses)}"
        reason = "a helper outside said so" if survey.is_told_outside else "that is what this machine and DNS say"
        yield Decision("addresses", says, reason)


def _program(layout: Layout, here: Here) -> Iterator[Errand]:
    """The unit keeps the server out of people's homes, and so out of a program that lies there."""
    homes = (Path("/home"), Path("/root"), Path("/run/user"))
    if layout.user and here.program is not None and any(home in here.program.parents for home in homes):
        folder = here.program.parents[1]
        text = f"the program lies in {folder}, where the server may not look: install it in /opt/mailserver instead"
        commands = ("python3 -m venv /opt/mailserver", "/opt/mailserver/bin/pip install .")
        yield Errand(text, commands, is_needed=True)


def _in_order(decisions: tuple[Decision, ...]) -> dict[str, Setting]:
    """All settings, in the order of the file."""
    found = {key: value for decision in decisions for key, value in decision.settings.items()}
    assert set(found) <= set(BY_NAME), f"keys without a place: {set(found) - set(BY_NAME)}"
    return {key.name: found[key.name] for key in KEYS if key.name in found}


def _said(answers: Answers) -> frozenset[str]:
    """Keys about which the owner has just said something."""
    said = {"domains"}
    if answers.hostname:
        said.add("hostname")
    if answers.smarthost:
        said |= {key for key in BY_NAME if key.startswith("relay.smarthost")}
    if answers.webroot or answers.dns_hook:
        said |= {"acme.challenge", "acme.webroot", "acme.dns_hook", "acme.directory"}
    if answers.has_agreed:
        said |= {"acme.agree_terms", "acme.directory"}
    if answers.addresses:
        said.add("doctor.addresses")
    if answers.port_offset or answers.uses_sockets:
        said |= {key for key in BY_NAME if key.startswith("listen.")}
    return frozenset(said)


def _noted(ours: Settings, decided: Settings, existing: Existing) -> dict[str, Setting]:
    """What is setup's own, also where it decided before and has nothing to say today."""
    found = dict(ours)
    for key, value in existing.decided.items():
        if key in BY_NAME and key not in decided and isinstance(value, str | bool | int | tuple):
            found[key] = value
    return {key.name: found[key.name] for key in KEYS if key.name in found}


def _with_owners(
    decided: dict[str, Setting], existing: Existing, said: frozenset[str]
) -> tuple[dict[str, Setting], dict[str, Setting], tuple[str, ...]]:
    """What stands in the end; what of it is setup's; a line for each value that setup would have chosen otherwise.

    A value of the owner's never becomes setup's, not even when both are the same: it must not follow what is found.
    """
    settings: dict[str, Setting] = {}
    ours: dict[str, Setting] = {}
    kept: list[str] = []
    for key, wanted in decided.items():
        own = existing.settings.get(key)
        if key not in said and existing.is_owners(key) and isinstance(own, str | bool | int | tuple):
            settings[key] = own
            if own != wanted:
                kept.append(f"{key} = {written(own)} is yours and stays; setup would have taken {written(wanted)}")
        else:
            settings[key] = ours[key] = wanted
    return settings, ours, tuple(kept)


def written(value: Setting) -> str:
    """As TOML has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(written(one) for one in value)}]"
    return json.dumps(value, ensure_ascii=False)
