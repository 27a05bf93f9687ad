"""What every subcommand gets: the configuration, read when first asked for, and the ways to answer the operator.

Nothing here imports Twisted or anything slow; a table on a terminal brings `rich` in when it is printed.
Exit status: 0, 1 (`Refusal`: refused or found something), 2 (`click.UsageError`: asked the wrong way).
"""

import json
import os
import pwd
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn

import click

from mailserver.mail.address import Mailbox, parse_mailbox
from mailserver.mail.fault import SyntaxFault
from mailserver.mail.reply import printable

if TYPE_CHECKING:
    from mailserver.config import Config


class Refusal(click.ClickException):
    """The command was understood and cannot be done. Printed on standard error; exit status 1."""

    exit_code = 1

    def show(self, file: IO[str] | None = None) -> None:
        """The text as it is: each line of a configuration error begins with the file's name already."""
        click.echo(self.message, file=file or sys.stderr)


@dataclass(slots=True)
class CliContext:
    """The `obj` of the click context; subcommands take it with `@click.pass_obj`.

    `config_option` is what `--config` said, None when it was not given.
    """

    config_option: Path | None = None
    _config: "Config | None" = field(default=None, repr=False)

    @property
    def config_path(self) -> Path:
        """The configuration file in force. Raises `Refusal` when there is none."""
        from mailserver.config import ConfigError, find_config

        try:
            return find_config(self.config_option)
        except ConfigError as error:
            raise Refusal(str(error)) from None

    @property
    def config(self) -> "Config":
        """The configuration, read once. Raises `Refusal` with every error in it."""
        if self._config is None:
            from mailserver.config import ConfigError, load_config
            from mailserver.net.listener_text import check_listener

            try:
                self._config = load_config(self.config_path, check_listener)
            except ConfigError as error:
                raise Refusal(str(error)) from None
        return self._config

    @property
    def operator(self) -> str:
        """Who types, for the journal: a login name, and whose it was before sudo."""
        try:
            name = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            name = f"user id {os.getuid()}"
        before = os.environ.get("SUDO_USER", "")
        return f"{name} (sudo by {before})" if before and before != name else name

    def become_owner(self) -> None:
        """Before writing: root becomes the owner of the state folder (design section 5). Raises `Refusal`."""
        from mailserver.cli.ownership import become_owner

        become_owner(self, self.config)

    def say(self, text: str) -> None:
        """A line of result on standard output."""
        click.echo(text)

    def warn(self, text: str) -> None:
        """A remark on standard error that changes nothing about the exit status."""
        click.echo(f"warning: {text}", err=True)

    def refuse(self, text: str) -> NoReturn:
        """Give up with exit status 1."""
        raise Refusal(text)

    def say_json(self, value: object) -> None:
        """Data for programs, on standard output: UTF-8, indented, one value.

        What is not printable is escaped: JSON alone lets C1 controls pass, and a terminal obeys them.
        """
        click.echo(_NOT_PRINTABLE.sub(_json_escape, json.dumps(value, ensure_ascii=False, indent=2)))

    def say_table(self, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Rows with headings on a terminal; in a pipe without headings, the columns parted by tabs."""
        if _is_terminal(sys.stdout):
            _rich_table(headings, rows)
            return
        for row in rows:
            click.echo("\t".join(printable(cell) for cell in row))

    def ask_secret(self, what: str, *, from_stdin: bool) -> str:
        """A secret: the first line of standard input, or asked for twice on a terminal.

        Empty when the one asked wants it made, and where nobody can be asked.
        """
        if from_stdin:
            return _first_line_of_stdin(what)
        if not (_is_terminal(sys.stdin) and _is_terminal(sys.stderr)):
            return ""
        answer: str = click.prompt(
            f"{what} (empty: one is made)",
            default="",
            show_default=False,
            hide_input=True,
            confirmation_prompt="Again",
            err=True,
        )
        return answer


def mailbox_argument(text: str) -> Mailbox:
    """An address from the command line. Raises `click.UsageError` when it is none or has no domain."""
    mailbox = parse_mailbox(text)
    if isinstance(mailbox, SyntaxFault):
        raise click.UsageError(f"{printable(text)}: {mailbox.reason}")
    if not mailbox.domain:
        raise click.UsageError(f"{printable(text)}: an address with a domain is needed, such as {mailbox}@example.org")
    return mailbox


# What may hold controls, marks that turn the direction of text, and the like: all beyond ASCII, but for DEL. The rest
# JSON has escaped.
_NOT_PRINTABLE = re.compile(r"[^\n -~]")


def _json_escape(found: re.Match[str]) -> str:
    char = found.group()
    return char if char.isprintable() else json.dumps(char)[1:-1] if char > "\x7f" else "\\u007f"


def _is_terminal(stream: IO[str] | None) -> bool:
    """A stream that was closed before we started is None."""
    return stream is not None and stream.isatty()


def _first_line_of_stdin(what: str) -> str:
    """The first line without its end. Octets, so that the locale does not matter; a Windows line end is taken off."""
    if sys.stdin is None:
        raise Refusal(f"{what}: standard input is closed")
    line = sys.stdin.buffer.readline()
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal(f"{what}: standard input is not UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")


def _rich_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console().print(table)
