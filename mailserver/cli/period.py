"""`--since 7d` on the command line."""

from pathlib import Path

import click

from mailserver.config.fault import Wrong
from mailserver.config.values import duration


def seconds(text: str) -> float:
    """The time as the configuration writes it. Raises `click.BadParameter`."""
    try:
        found = duration().read(text, Path())
    except Wrong as wrong:
        raise click.BadParameter(str(wrong), param_hint="--since") from None
    assert isinstance(found, float)
    return found
