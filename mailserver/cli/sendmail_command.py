"""`sendmail` as a subcommand, for `mailserver --help` and `mailserver --config FILE sendmail`."""

import sys

import click

from mailserver.cli.context import CliContext


class _Untouched(click.Command):
    """Leaves its words alone: the options of sendmail follow other rules than click's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Everything behind the subcommand."""
        ctx.params = {"words": tuple(args)}
        return []


@click.command(cls=_Untouched, add_help_option=False)
@click.pass_obj
def sendmail(context: CliContext, /, words: tuple[str, ...]) -> None:
    """Send a message from this machine (/usr/sbin/sendmail)."""
    from mailserver.cli.sendmail import main

    config = [] if context.config_option is None else ["--config", str(context.config_option)]
    sys.exit(main([*config, *words], is_link=False))
