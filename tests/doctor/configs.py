"""Configurations for the checks."""

from mailserver.config import load_config
from mailserver.net.listener_text import check_listener

TOP = 'hostname = "mail.example.org"\ndomains = ["example.org"]\npostmaster = "alice@example.org"\n'


def configured(folder, text=""):
    """A whole configuration in `folder`, for a server on the internet."""
    path = folder / "mailserver.toml"
    path.write_text(f'{TOP}{text}\n[storage]\nmaildirs = "maildirs"\nstate = "var"\n')
    return load_config(path, check_listener)
