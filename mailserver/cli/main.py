"""The `mailserver` command: looks after the server that `twistd mailserver` runs. It never listens.

Subcommands are imported when they are asked for, and none of these imports Twisted, so that each answers at once.
"""

import io
import os
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from mailserver.cli.context import CliContext

# Name -> module and attribute, in the order of --help.
_SUBCOMMANDS: dict[str, tuple[str, str]] = {
    "setup": ("mailserver.cli.setup", "setup"),
    "check-config": ("mailserver.cli.check_config", "check_config"),
    "account": ("mailserver.cli.account", "account"),
    "alias": ("mailserver.cli.alias", "alias"),
    "route": ("mailserver.cli.route", "route"),
    "queue": ("mailserver.cli.queue", "queue"),
    "suppression": ("mailserver.cli.suppression", "suppression"),
    "why": ("mailserver.cli.why", "why"),
    "dkim": ("mailserver.cli.dkim", "dkim"),
    "dns": ("mailserver.cli.dns", "dns"),
    "dmarc": ("mailserver.cli.dmarc", "dmarc"),
    "tlsrpt": ("mailserver.cli.tlsrpt", "tlsrpt"),
    "doctor": ("mailserver.cli.doctor", "doctor"),
    "certificate": ("mailserver.cli.certificate", "certificate"),
    "backup": ("mailserver.cli.backup", "backup"),
    "restore": ("mailserver.cli.restore", "restore"),
    "sendmail": ("mailserver.cli.sendmail_command", "sendmail"),
    "explain": ("mailserver.cli.explain", "explain"),
}


class LazyGroup(click.Group):
    """Finds subcommands by name in `_SUBCOMMANDS`."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """As click has it (Any is click's); and a full disk behind standard output is one line, not a traceback."""
        for stream in (sys.stdout, sys.stderr):
            # A terminal that cannot show a character gets it as \u1234.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            click.echo(f"cannot go on: {(error.strerror or str(error)).lower()}{where}", err=True)
            if sys.stdout is not None:
                # What could not be written must not be tried again when the interpreter ends.
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.exit(1)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which somebody new needs them."""
        del ctx
        return list(_SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one subcommand."""
        del ctx
        if cmd_name not in _SUBCOMMANDS:
            return None
        module, attribute = _SUBCOMMANDS[cmd_name]
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


def _print_version(context: click.Context, parameter: click.Parameter, is_asked: bool) -> None:
    del parameter
    if is_asked:
        click.echo(f"mailserver {version('mailserver')}")
        context.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 done, 1 refused or something found, 2 asked the wrong way.",
)
@click.option(
    "--config",
    "config_option",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The configuration; else etc/mailserver.toml here, then /etc/mailserver/mailserver.toml.",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
@click.pass_context
def main(context: click.Context, config_option: Path | None) -> None:
    """Looks after a mailserver: its accounts, aliases and queue.

    The server itself is started with `twistd mailserver` (`twistd -n mailserver` stays in the foreground). All
    commands here work whether it runs or not, and it sees every change within a second.

    \b
    First steps:
      mailserver setup example.org                make this machine a mail server
      mailserver check-config                     is the configuration right, and what will be served?
      mailserver account add alice@example.org    a mailbox with a password
      mailserver route sales@example.org          where does mail for this address go?
      mailserver queue list                       what waits to be sent, and why?
      mailserver why alice@example.org            where is that message?
      mailserver explain - < bounce.eml           what does this bounce mean?
      mailserver doctor                           is everything as it should be?
    """
    context.obj = CliContext(config_option)
