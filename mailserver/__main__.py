"""`python -m mailserver` is the `mailserver` command."""

from mailserver.cli.main import main

main(prog_name="mailserver")
