"""The `mailserver` program's entry: by the name it was called as, `sendmail` or the command line for operators.

`/usr/sbin/sendmail` and `/usr/bin/mailq` are links to it. Programs call sendmail for every message, so that way imports
as little as possible.
"""

import sys


def run() -> int:
    """The exit status; blocks."""
    from mailserver.cli.sendmail import link_name, main

    name = link_name(sys.argv[0])
    if name:
        return main(sys.argv[1:], name=name)
    if sys.argv[1:2] == ["sendmail"]:
        return main(sys.argv[2:], is_link=False)

    from mailserver.cli.main import main as mailserver

    mailserver()
    return 0
