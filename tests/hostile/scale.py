"""How large the attacks are: bounded in `make test`, full with MAILSERVER_HOSTILE=full (`make hostile`)."""

import os

IS_FULL = os.environ.get("MAILSERVER_HOSTILE") == "full"


def scaled(bounded: int, full: int) -> int:
    """The one or the other."""
    return full if IS_FULL else bounded
