"""The drop folder under power cuts, kills and failures: what `sendmail` said is left, arrives."""

import contextlib
import os
from dataclasses import replace
from functools import partial

import pytest

from mailserver.net.committer import GroupCommitter
from mailserver.pickup import Pickup
from mailserver.ports import Filed, LocalMailboxes
from mailserver.session.local_submission import LocalSubmission
from mailserver.session.smtp_profile import SmtpSettings
from mailserver.store import drop_write
from mailserver.store.drop import DropFolder
from mailserver.store.drop_folders import SET_ASIDE, make_drop_folder
from mailserver.store.drop_format import DropHead, DropRecipient, encode_drop
from mailserver.store.drop_write import leave_message
from tests.fakes.awaiting import run
from tests.fakes.blocking import DirectBlocking
from tests.fakes.directory import box
from tests.fakes.smtp import World, example_directory
from tests.faults.changes import Change, failures_of, power_cuts_of
from tests.faults.disk import NoSync
from tests.faults.server import BODY, Lost, Server

LETTERS = (1, 2)


class _AtOnce:
    """`Committer` that writes in place, and tells the queue."""

    def __init__(self, server):
        self.server = server

    def has_room(self, size_octets):
        return True

    async def commit(self, acceptance, content):
        (result,) = self.server.writer.commit([(acceptance, content)])
        if not isinstance(result, Filed):
            raise result
        GroupCommitter._tell_queue(self, acceptance, result)
        return result

    def _on_spooled(self, *about):
        self.server.runner.added(*about)


class Machine:
    """A server with a drop folder."""

    def __init__(self, root, disk):
        # Another process gives other names.
        is_after = isinstance(disk, NoSync)
        self.server = Server(root, None if is_after else disk, ids_from=3000 if is_after else 1000)
        self.world = World(example_directory())
        self.server.local["alice@example.test"] = LocalMailboxes((box("alice@example.test"),))
        doors = replace(self.world.doors, committer=_AtOnce(self.server), new_queue_id=self.server.ids)
        self.drop = DropFolder(root / "drop", max_octets=100_000, files=disk)
        self.pickup = Pickup(
            self.drop,
            LocalSubmission(SmtpSettings(hostname="mail.example.test"), doors, lambda *about: None),
            "example.test",
            blocking=DirectBlocking(),
            clock=self.world.clock,
            log=self.world.events.append,
        )

    def look(self, times=1):
        for _ in range(times):
            run(self.pickup.look())
            self.world.clock.advance(600)
        self.server.live_on(2)

    def close(self):
        self.drop.close()


def octets_of(number):
    head = DropHead("me@far.example", (DropRecipient("alice"), DropRecipient("x@far.example")))
    return encode_drop(head, b"Subject: letter %d\r\n\r\n" % number + BODY)


def make(root):
    (root / "mail").mkdir()
    make_drop_folder(root / "drop", files=NoSync())
    (root / "drop" / "odd").write_bytes(b"no message")


def leave_and_pick_up(root, disk):
    machine = Machine(root, disk)
    try:
        for number in LETTERS:
            with contextlib.suppress(OSError):
                leave_message(root / "drop", octets_of(number), disk)
                disk.told(("left", number))
        machine.look(2)
    finally:
        machine.close()


def count_letters(machine, told):
    """How often each letter is with alice and with the other server."""
    server = machine.server
    alice = [octets for mailbox, _, octets in server.filed() if mailbox == "alice@example.test"]
    sent = [about[2] for about in [*told, *server.noted] if about[0] == "sent"]
    for octets in alice + [one.replace(b"\r\n", b"\n") for one in sent]:
        if not octets.endswith(BODY.replace(b"\r\n", b"\n")):
            raise Lost(f"cut: {octets[-50:]!r}")
    for number in LETTERS:
        mark = b"Subject: letter %d" % number
        yield number, sum(mark in one for one in alice), sum(mark in one for one in sent)


def check(root, told, most_sent=2):
    machine = Machine(root, NoSync())
    try:
        machine.look(3)
        for number, filed, sent in count_letters(machine, told):
            least = ("left", number) in told
            if not least <= filed <= 2 or not least <= sent <= most_sent:
                raise Lost(f"letter {number} was filed {filed} times and sent {sent} times")
        left = [name for name in os.listdir(root / "drop") if name != SET_ASIDE and not name.startswith("tmp.")]
        if left:
            raise Lost(f"still in the drop folder: {left}")
        aside = [path.read_bytes() for path in (root / "drop" / SET_ASIDE).iterdir()]
        if aside != [b"no message"]:
            raise Lost(f"set aside: {aside}")
        if machine.server.failures or machine.server.on_disk():
            raise Lost(f"{machine.server.failures} {machine.server.on_disk()}")
    finally:
        machine.close()


STORY = Change("drop folder", make, leave_and_pick_up, check)


def test_a_power_cut_at_any_point_loses_nothing_that_sendmail_left(base):
    points, states = power_cuts_of(STORY, base)
    assert points > 30
    assert states > 30


def test_the_file_alone_is_enough_where_the_folder_cannot_be_synced(base, monkeypatch):
    """A user who may not list the folder: ext4, xfs and btrfs put the name on disk with the file."""

    def refused(files, directory):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(drop_write, "_sync_folder", refused)
    about = {"file_sync_keeps_its_name": True}
    power_cuts_of(Change("drop folder, not listed", make, leave_and_pick_up, check, about=about), base)
    with pytest.raises(Lost, match="filed 0 times"):
        power_cuts_of(Change("another file system", make, leave_and_pick_up, check), base)


def test_a_failure_at_any_point_loses_nothing_that_sendmail_left(base):
    # A disk that takes no removal at all: once from the folder again, and once from the queue again.
    points, _ = failures_of(replace(STORY, check=partial(check, most_sent=3)), base, 1)
    assert points > 30
