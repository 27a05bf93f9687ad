"""A configuration in a folder of its own, and the command as somebody would type it."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from mailserver.cli.main import main

CONFIG = """\
hostname = "mail.example.org"
domains = ["example.org", "example.net"]
postmaster = "alice@example.org"
[storage]
maildirs = "../mail"
state = "../state"
[relay.routes]
"routed.example" = "192.0.2.7:2525"
"""


@dataclass
class Command:
    """`mailserver --config FILE ...` in this process."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "etc" / "mailserver.toml"

    @property
    def accounts(self) -> Path:
        return self.folder / "etc" / "accounts.toml"

    def __call__(self, *words: str, input: str | bytes | None = None):
        return CliRunner().invoke(main, ["--config", str(self.config), *words], input=input, prog_name="mailserver")

    def ok(self, *words: str, input: str | bytes | None = None) -> str:
        """What it prints when it succeeds."""
        result = self(*words, input=input)
        assert result.exit_code == 0, result.output
        return result.stdout

    def refused(self, *words: str, input: str | bytes | None = None) -> str:
        """What it says on standard error when it refuses (exit status 1)."""
        result = self(*words, input=input)
        assert result.exit_code == 1, result.output
        assert result.stdout == ""
        return result.stderr.replace(f"{self.folder}/", "")


@pytest.fixture
def command(tmp_path):
    """Configured, with a state folder, without any account."""
    command = Command(tmp_path)
    command.config.parent.mkdir()
    (tmp_path / "state").mkdir()
    command.config.write_text(CONFIG)
    return command
