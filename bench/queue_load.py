"""Start and list of a large queue: time, and memory for each message.

    python bench/queue_load.py [MESSAGES]

Writes MESSAGES (100,000) queue files into a temporary folder, loads them as a starting server does (index only, nothing
is due), and lists them as `mailserver queue list --json` does. No network.
"""

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from mailserver.cli.queue_text import as_object
from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Envelope, Recipient
from mailserver.mail.ids import QueueIds
from mailserver.mail.route import MxRoute
from mailserver.maillog import nowhere
from mailserver.net.clock import ReactorClock
from mailserver.relay.bounce import Reporter
from mailserver.relay.doors import RelayDoors, RelaySettings
from mailserver.relay.runner import RelayRunner
from mailserver.relay.schedule import Schedule
from mailserver.store.files import Files
from mailserver.store.spool import Spool
from mailserver.store.spool_format import SpoolPaths, encode_head
from mailserver.store.spool_state import RecipientProgress, encode_state

CONTENT = b"Subject: hello\r\n\r\n" + b"x" * 2000 + b"\r\n"


class Threads:
    """The `Blocking` door on the reactor's own threads."""

    def run(self, lane, call, *args):
        return deferToThread(call, *args)


class Nothing:
    """Neither transmits nor files: nothing is due in this benchmark."""

    async def send(self, route, envelope, content, queue_id=""):
        raise AssertionError("nothing is due")

    file = send


def fill(paths: SpoolPaths, count: int) -> None:
    new_id = QueueIds(time.time)
    now = time.time()
    for number in range(count):
        queue_id = new_id()
        sender = Mailbox(f"user{number % 200}", "example.org")
        recipient = Recipient(Mailbox(f"somebody.{number}", f"domain{number % 5000}.example"))
        head = encode_head(queue_id, now - number % 86400, Envelope(sender, (recipient,)), "192.0.2.1 ESMTPSA user")
        paths.message(queue_id).write_bytes(head + CONTENT)
        state = (RecipientProgress(attempts=3, next_attempt=now + 9000, last_attempt=now, reason="connection refused"),)
        paths.state(queue_id).write_bytes(encode_state(queue_id, state))


def resident_octets() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def measure(spool: Spool, count: int) -> None:
    clock = ReactorClock(reactor)
    schedule = Schedule((300.0, 14400.0), 5 * 86400.0, 14400.0)
    doors = RelayDoors(
        clock=clock,
        blocking=Threads(),
        spool=spool,
        transmitter=Nothing(),
        mailboxes=Nothing(),
        find_destination=lambda mailbox: MxRoute(mailbox.domain),
        new_queue_id=QueueIds(time.time),
        random=Random(1),
        sink=nowhere,
        tell_failure=lambda what, error: sys.exit(f"{what}: {error!r}"),
    )
    reporter = Reporter("mail.example.org", Mailbox("postmaster", "example.org"))
    runner = RelayRunner(doors, RelaySettings(schedule, reporter))
    runner.start()
    before, began, cpu = resident_octets(), time.perf_counter(), time.process_time()
    loaded = await runner.load()
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    assert loaded == count == len(runner)
    memory = resident_octets() - before
    print(f"load: {count} messages in {took:.2f} s ({cpu:.2f} s of CPU), {memory / count:.0f} octets of memory each")
    began = time.perf_counter()
    running = frozenset(runner.running_ids())
    listed = [
        as_object(one, is_running=one.queue_id in running) for one in spool.load(spool.ids(), may_set_aside=False)
    ]
    octets = len(json.dumps(listed))
    print(f"list: {len(listed)} messages, {octets / 1e6:.1f} MB of JSON in {time.perf_counter() - began:.2f} s")
    print(f"peak resident memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB, list included")
    await runner.stop(1.0)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(SpoolPaths(Path(folder)), Files())
        spool.prepare()
        began = time.perf_counter()
        fill(spool.paths, count)
        print(f"(filled in {time.perf_counter() - began:.1f} s)")
        done = Deferred.fromCoroutine(measure(spool, count))
        done.addErrback(lambda failure: failure.printTraceback())
        done.addBoth(lambda _: reactor.callLater(0, reactor.stop))
        reactor.run()


if __name__ == "__main__":
    main()
