"""The lines that practice mode prints are pasted as they are, by a user who has swaks and curl."""

import subprocess

from tests.integration.server import ALICE, Server


def pasted_lines(server):
    """The lines below `To paste`."""
    _, _, below = server.log.partition("\nTo paste\n")
    return [line.strip() for line in below.split("\n\n")[0].splitlines()]


def test_every_printed_line_works_as_it_is(tmp_path):
    with Server(tmp_path) as server:
        lines = pasted_lines(server)
        assert len(lines) == 5
        for line in lines:
            done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, cwd=tmp_path)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        assert len(server.messages(ALICE)) == 4
        assert done.stdout.splitlines()[-1].startswith("4 "), "the list of the mailbox, fetched last"
