"""The disk is really full: the server keeps serving what it can, says so, and recovers without a restart."""

import poplib
import smtplib
import socket

import pytest

from tests.integration.server import ALICE, BOB, HOST, LIMIT_S, Server, wait_until
from tests.soak.next_hop import next_hop

LETTER = b"Subject: hello\r\n\r\n" + b"It works, and here is some more of it.\r\n" * 500
STORAGE = {"min_free": "300KB"}


def reply_to_mail(server):
    """The code of the reply to MAIL: what a client hears before it has sent anything large."""
    with smtplib.SMTP(HOST, server.ports["smtp"], timeout=LIMIT_S) as client:
        client.ehlo()
        return client.mail("stranger@outside.example")[0]


def try_to_send(server, *recipients, letter=LETTER):
    """The code at which a letter ended: 250, or the first refusal."""
    with smtplib.SMTP(HOST, server.ports["smtp"], timeout=LIMIT_S) as client:
        client.ehlo()
        code = client.mail("stranger@outside.example")[0]
        for recipient in recipients:
            code = client.rcpt(recipient)[0] if code == 250 else code
        return client.data(letter)[0] if code == 250 else code


def login(server, who=ALICE):
    client = poplib.POP3(HOST, server.ports["pop3"], timeout=LIMIT_S)
    client.user(who)
    client.pass_(server.password(who))
    return client


def delete_all(server, who=ALICE):
    """Fetch and delete everything; how many there were."""
    client = login(server, who)
    count = client.stat()[0]
    for number in range(1, count + 1):
        assert client.retr(number)[1]
        client.dele(number)
    client.quit()
    return count


def is_taken_again(server):
    """The figure of the free space may be a second old."""
    wait_until(lambda: try_to_send(server, ALICE) == 250, "mail being taken again", 5)


@pytest.mark.parametrize("which", ["maildirs", "var", "both"])
@pytest.mark.parametrize("what", ["blocks", "inodes"])
def test_full_means_452_before_data_and_pop3_goes_on(tmp_path, small_disk, which, what):
    disks = [small_disk(name) for name in ("maildirs", "var") if which in (name, "both")]
    with Server(tmp_path, {"storage": STORAGE}) as server:
        for _ in range(5):
            assert try_to_send(server, ALICE) == 250
        for disk in disks:
            disk.use_up_inodes() if what == "inodes" else disk.fill()
        wait_until(lambda: reply_to_mail(server) == 452, "452 to MAIL", 5)
        assert login(server).stat()[0] == 5
        assert delete_all(server) == 5, "what is there can be fetched and removed"
        for disk in disks:
            disk.make_room()
        is_taken_again(server)
        assert "Traceback" not in server.log
        assert server.log.count("trouble") < 10


def test_who_deletes_makes_room_and_mail_is_taken_again(tmp_path, small_disk):
    """The mailbox itself is what fills the disk; what did not fit any more waited in the queue."""
    disk = small_disk("maildirs")
    with Server(tmp_path, {"storage": STORAGE, "relay": {"retry": ["500ms"]}}) as server:
        sent = 0
        while try_to_send(server, ALICE, letter=LETTER * 10) == 250:
            sent += 1
            assert sent < 100
        assert disk.free_octets < 600_000 and sent > 5
        fetched = [delete_all(server)]
        wait_until(lambda: fetched.append(delete_all(server)) or sum(fetched) >= sent, f"all of {sent} letters")
        assert sum(fetched) == sent
        is_taken_again(server)


@pytest.mark.parametrize("what", ["blocks", "inodes"])
def test_a_mailbox_that_is_full_when_it_is_written_waits_in_the_queue(tmp_path, small_disk, what):
    """`min_free` cannot see everything: a quota, or somebody who was quicker. Nothing is lost, nothing bounces."""
    disk = small_disk("maildirs")
    settings = {"storage": {"min_free": 0}, "relay": {"retry": ["1s"]}}
    with Server(tmp_path, settings) as server:
        assert try_to_send(server, ALICE, BOB) == 250
        disk.use_up_inodes() if what == "inodes" else disk.fill()
        code = try_to_send(server, ALICE, BOB)
        assert code in (250, 452)
        disk.make_room()
        if code == 452:
            is_taken_again(server)
        server.wait_for_messages(ALICE, 2)
        server.wait_for_messages(BOB, 1)
        wait_until(lambda: server.cli("queue", "list", "--json").strip() == "[]", "an empty queue")
        assert "bounced" not in server.log and "Traceback" not in server.log


def test_no_room_anywhere_is_temporary_and_leaves_nothing_behind(tmp_path, small_disk):
    disks = [small_disk(name) for name in ("maildirs", "var")]
    with Server(tmp_path, {"storage": {"min_free": 0}}) as server:
        assert try_to_send(server, ALICE, BOB) == 250
        for disk in disks:
            disk.fill()
        for letter in (LETTER, LETTER * 40):
            assert 400 <= try_to_send(server, ALICE, BOB, letter=letter) < 500
        assert list((server.mailbox(ALICE) / "tmp").iterdir()) == []
        assert len(server.messages(ALICE)) == 1
        for disk in disks:
            disk.make_room()
        is_taken_again(server)
        assert "Traceback" not in server.log


def test_the_queue_keeps_its_mail_while_nothing_can_be_written_and_drains_after(tmp_path, small_disk):
    disk = small_disk("var")
    with socket.create_server((HOST, 0)) as probe:
        closed = probe.getsockname()[1]
    relay = {"routes": {"far.test": f"{HOST}:{closed}"}, "retry": ["500ms"]}
    settings = {"storage": STORAGE, "relay": relay, "smtp": {"trusted_networks": ["127.0.0.0/8"]}}
    with Server(tmp_path, settings) as server:
        for number in range(5):
            assert try_to_send(server, f"x{number}@far.test") == 250
        server.wait_for_log("deferred", 5)
        disk.fill()
        before = server.log.count("\n")
        wait_until(lambda: reply_to_mail(server) == 452, "452 to MAIL", 5)
        with next_hop(closed) as sink:
            # Delivering needs no room, and makes some.
            wait_until(lambda: len(sink.received) >= 5, f"five messages at the next hop; log:\n{server.log[-3000:]}")
            disk.make_room()
            wait_until(lambda: server.cli("queue", "list", "--json").strip() == "[]", "an empty queue")
            assert len(sink.received) == 5, "each once"
        assert server.log.count("\n") - before < 300
        assert "Traceback" not in server.log and "bounced" not in server.log
        is_taken_again(server)


def test_it_starts_on_a_full_disk_and_serves_what_is_there(tmp_path, small_disk):
    disk = small_disk("var")
    with Server(tmp_path, {"storage": STORAGE}) as server:
        assert try_to_send(server, ALICE) == 250
        disk.fill()
        server.restart()
        assert reply_to_mail(server) == 452
        assert delete_all(server) == 1
        disk.make_room()
        is_taken_again(server)
        assert "Traceback" not in server.log
