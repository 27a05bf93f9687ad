"""The table `[web]`: which pages the web listeners show beside those that others need."""

from typing import Annotated

from attrs import frozen

from mailserver.config import values


@frozen
class Web:
    """`status`: the page `/status`, for clients on this machine only."""

    status: Annotated[bool, values.boolean] = False
