"""Configurations for the checks."""

import functools
import tempfile
from pathlib import Path

from mailserver.config import load_config
from mailserver.net.listener_text import check_listener

TOP = 'hostname = "mail.example.org"\ndomains = ["example.org"]\npostmaster = "alice@example.org"\n'


def configured(folder, text=""):
    """A whole configuration in `folder`, for a server on the internet."""
    path = folder / "mailserver.toml"
    path.write_text(f'{TOP}{text}\n[storage]\nmaildirs = "maildirs"\nstate = "var"\n')
    return load_config(path, check_listener)


@functools.cache
def plain(text=""):
    """The same where nothing on the disk is looked at; read once for each text."""
    with tempfile.TemporaryDirectory() as folder:
        return configured(Path(folder), text)
