"""The few questions of `mailserver setup`, each with a default that was found out. Only on a terminal."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from mailserver.cli.context import CliContext, Refusal
from mailserver.mail.address import Mailbox, canonical_domain, parse_mailbox
from mailserver.setup.apply import Missing, Secrets
from mailserver.setup.values import Answers, Layout, Plan
from mailserver.store.passwords import MAX_PASSWORD_OCTETS, generate_password, weakness

if TYPE_CHECKING:
    from mailserver.cli.setup_run import Request

TERMS = "https://letsencrypt.org/repository/"


def can_ask() -> bool:
    """Whether there is somebody to ask."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def questions(answers: Answers, plan: Plan, *, is_new: bool) -> Answers:
    """What cannot be found out. Asked once; later what is missing is named with the command that mends it."""
    if not is_new:
        return answers
    if not answers.hostname:
        answers = replace(answers, hostname=_host(plan.hostname))
    if not answers.user:
        answers = replace(answers, user=_user(answers.domain))
    if plan.smarthost_reason and not answers.smarthost:
        answers = _smarthost(answers, plan.smarthost_reason)
    certificate = next(one for one in plan.decisions if one.topic == "certificate")
    if not answers.has_agreed and certificate.settings.get("acme.challenge") and not plan.settings["acme.directory"]:
        question = f"Do you agree to the terms of service of Let's Encrypt ({TERMS}), which gives free certificates?"
        answers = replace(answers, has_agreed=click.confirm(question, default=False))
    return answers


def agrees() -> bool:
    """The last question."""
    return bool(click.confirm("\nWrite this?", default=True))


def secrets(
    context: CliContext,
    request: "Request",
    answers: Answers,
    missing: Missing,
    layout: Layout,
    *,
    asks: bool,
) -> Secrets:
    """Passwords: read, asked for, or made."""
    smarthost = ""
    if answers.smarthost_username:
        smarthost = _smarthost_password(context, request, answers, layout, asks=asks)
    said = ""
    if missing.account is None:
        return Secrets(smarthost)
    if asks:
        said = _account_password(context, missing.account)
    return Secrets(smarthost, said or generate_password(), is_made=not said)


def _host(found: str) -> str:
    while True:
        said: str = click.prompt("The server's own full name", default=found)
        host = canonical_domain(said)
        if host is not None and "." in host and not host.startswith("["):
            return host
        click.echo(f"{said!r} is not a full host name such as {found}")


def _user(domain: str) -> str:
    while True:
        said: str = click.prompt(f"The first account, without @{domain}", default="postmaster")
        mailbox = parse_mailbox(f"{said.removesuffix(f'@{domain}')}@{domain}")
        if isinstance(mailbox, Mailbox):
            return mailbox.local_part
        click.echo(f"{said!r}: {mailbox.reason}")


def _smarthost(answers: Answers, reason: str) -> Answers:
    click.echo(f"\n{reason}. Your provider may have a mail host that takes your mail (a smarthost).")
    host: str = click.prompt("Smarthost as HOST:PORT, empty for none", default="", show_default=False)
    if not host.strip():
        return answers
    host = host.strip() if ":" in host else f"{host.strip()}:587"
    login: str = click.prompt("Your login there, empty for none", default="", show_default=False)
    return replace(answers, smarthost=host, smarthost_username=login.strip())


def _smarthost_password(
    context: CliContext, request: "Request", answers: Answers, layout: Layout, *, asks: bool
) -> str:
    what = f"Password of {answers.smarthost_username} at {answers.smarthost}"
    if request.smarthost_password_stdin:
        password = context.ask_secret(what, from_stdin=True)
    elif asks:
        password = str(click.prompt(what, hide_input=True, err=True))
    elif _is_there(layout):
        return ""
    else:
        raise Refusal(f"{what} is needed: say --smarthost-password-stdin, and write it to standard input")
    if not password:
        raise Refusal(f"{what}: it is empty")
    return password


def _is_there(layout: Layout) -> bool:
    try:
        return layout.smarthost_password.exists()
    except OSError:
        return False


def _account_password(context: CliContext, mailbox: Mailbox) -> str:
    """Empty when one is to be made."""
    said = context.ask_secret(f"Password of {mailbox}", from_stdin=False)
    if len(said.encode("utf-8", "replace")) > MAX_PASSWORD_OCTETS or "\0" in said:
        raise Refusal(f"a password has at most {MAX_PASSWORD_OCTETS} octets, and no NUL; nothing was changed")
    weak = weakness(said, mailbox) if said else None
    if weak:
        context.warn(f"this password is easily guessed: {weak}")
    return said
