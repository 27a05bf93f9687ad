"""`mailserver setup`: looks around, decides, shows what it would write, and writes it when told so."""

import ipaddress
from pathlib import Path
from typing import Any

import click

from mailserver.cli.context import CliContext, mailbox_argument
from mailserver.mail.address import canonical_domain
from mailserver.mail.dns import IpAddress

_PATH = click.Path(path_type=Path)


def _address(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[IpAddress, ...]:
    del context, parameter
    try:
        return tuple(map(ipaddress.ip_address, given))
    except ValueError as error:
        raise click.BadParameter(f"{error}; give one such as 192.0.2.7") from None


@click.command()
@click.argument("domain")
@click.option("--user", metavar="NAME", default="", help="The first account, such as alice. Default: postmaster")
@click.option("--hostname", default="", help="The server's own full name. Default: mail.DOMAIN")
@click.option("--smarthost", metavar="HOST:PORT", default="", help="Your provider's host that takes all outgoing mail.")
@click.option("--smarthost-username", metavar="NAME", default="", help="The login there; its password is asked for.")
@click.option("--smarthost-password-stdin", is_flag=True, help="Read that password from standard input.")
@click.option("--agree-terms", is_flag=True, help="You agree to the terms of service of Let's Encrypt.")
@click.option("--webroot", type=_PATH, help="The folder of your web server, for certificates over HTTP-01.")
@click.option("--dns-hook", type=_PATH, help="A program that puts TXT records into DNS, for certificates over DNS-01.")
@click.option(
    "--address",
    "addresses",
    multiple=True,
    callback=_address,
    help="A public address, where this machine cannot see it (behind a router). May be given several times.",
)
@click.option(
    "--directory", type=_PATH, help="Put everything below this folder, for a lab; no system place is touched."
)
@click.option(
    "--port-offset",
    metavar="N",
    type=click.IntRange(0, 60000),
    default=0,
    help="For a lab: listen on 127.0.0.1 only, N ports above the usual ones.",
)
@click.option("--sockets", is_flag=True, help="Let systemd hold the ports, so that a restart refuses nobody.")
@click.option("--offline", is_flag=True, help="Ask nobody outside; only this machine is looked at.")
@click.option("--dry-run", is_flag=True, help="Show everything, write nothing.")
@click.option("--yes", is_flag=True, help="Ask nothing and write; what is not said is decided.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as one object; writes only with --yes.")
@click.pass_obj
def setup(context: CliContext, /, domain: str, **given: Any) -> None:
    """Make this machine a mail server, or bring it up to date.

    DOMAIN is yours, such as example.org. Looks at addresses, reverse names, block lists, port 25, ports that are taken
    and the resolver, decides what fits, and tells why. Then it shows what it would write: configuration, DKIM keys,
    first account, systemd unit, samples for logs and fail2ban; and the DNS records to publish. Nothing is written
    before you agree.

    Run it again at any time, or with another DOMAIN to add that: it shows the difference, and what you changed by hand
    stays. Without a terminal and without --yes it writes nothing and ends with exit status 1 when something would
    change.
    """
    # With --help alone nothing of this is needed.
    from mailserver.cli.setup_run import Request, run

    name = canonical_domain(domain)
    if name is None or name.startswith("[") or "." not in name:
        raise click.UsageError(f"{domain!r} is not a domain such as example.org")
    if context.config_option is not None:
        raise click.UsageError("setup has its own place for the configuration: leave --config out, or say --directory")
    user = given.pop("user")
    if user and "@" in user:
        mailbox = mailbox_argument(user)
        if mailbox.domain != name:
            raise click.UsageError(f"{user}: the first account is in {name}")
        user = mailbox.local_part
    elif user:
        user = mailbox_argument(f"{user}@{name}").local_part
    host = given.pop("hostname")
    if host and ((canonical := canonical_domain(host)) is None or "." not in canonical):
        raise click.UsageError(f"{host!r} is not a full host name such as mail.{name}")
    smarthost = given.pop("smarthost")
    if smarthost and ":" not in smarthost:
        smarthost = f"{smarthost}:587"
    request = Request(domain=name, user=user, hostname=canonical_domain(host) or "", smarthost=smarthost, **given)
    if (request.smarthost_password_stdin or request.smarthost_username) and not smarthost:
        raise click.UsageError("a login is for a smarthost: name that too, with --smarthost HOST:PORT")
    run(context, request)
