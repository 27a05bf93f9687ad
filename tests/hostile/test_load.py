"""Strangers who mean it harm, against the real process: legitimate mail goes on, memory and log stay bounded.

`make hostile` runs the same at full scale and prints what was measured (docs/security.md, "Load").
"""

import socket
import ssl
import threading
import time
from contextlib import contextmanager, suppress

from tests.fakes.smtp import plain
from tests.hostile.scale import scaled
from tests.hostile.watch import Crowd, attacked, attackers, send
from tests.integration.server import ALICE, HOST, LIMIT_S, wait_until

HELLO = b"EHLO attacker.example\r\n"
BEGUN = HELLO + b"MAIL FROM:<a@b.example>\r\nRCPT TO:<" + ALICE.encode() + b">\r\nDATA\r\n"


@contextmanager
def keeping_on(act):
    """Call `act` in a thread again and again while the block runs; errors of the network are the attacker's own."""
    stop, count = threading.Event(), [0]

    def work():
        while not stop.is_set():
            with suppress(OSError):
                act(count[0])
            count[0] += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield count
    finally:
        stop.set()
        thread.join(LIMIT_S)
        assert not thread.is_alive()


def letters(watch, *, for_s):
    """Letters, one after the other, during an attack."""
    end = time.monotonic() + for_s
    watch.ok()
    while time.monotonic() < end:
        watch.ok()


# --- connections that do nothing --------------------------------------------------------------------------------------


def test_a_thousand_connections_that_do_nothing(tmp_path):
    """Also what is left of a client that vanished without a FIN looks like this: a socket that never answers."""
    with Crowd() as crowd, attacked(tmp_path, what="1,000 idle connections") as watch:
        for source in attackers(50):
            for _ in range(20):
                crowd.connect(watch.server.ports["smtp"], source)
        for _ in range(5):
            watch.ok()


def test_more_idle_connections_than_there_are_places(tmp_path):
    settings = {"smtp": {"max_connections": scaled(300, 2000)}}
    count = scaled(600, 4000)
    with Crowd() as crowd, attacked(tmp_path, settings, "idle connections, twice as many as places") as watch:
        for number, source in enumerate(attackers(count // 20)):
            for _ in range(20):
                crowd.connect(watch.server.ports["smtp"], source)
            if number % 10 == 0:
                watch.ok()
        watch.ok()


def test_clients_that_vanish_in_a_transaction_are_let_go_in_time(tmp_path):
    """Half-open: no FIN ever comes, so only the deadline ends it."""
    settings = {"smtp": {"command_timeout": "1s", "max_connections": 1000}}
    with Crowd() as crowd, attacked(tmp_path, settings, "half-open") as watch:
        for source in attackers(scaled(10, 40)):
            for number in range(20):
                crowd.connect(watch.server.ports["smtp"], source, BEGUN + b"Subject: half\r\n" * (number % 2))
        watch.ok()
        wait_until(lambda: all(is_over(one) for one in crowd.sockets), "the end of all of them")


def is_over(one):
    """Whether the server has closed."""
    try:
        while one.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


# --- floods -----------------------------------------------------------------------------------------------------------


def test_a_flood_of_connections_from_many_addresses(tmp_path):
    sources = attackers(50)

    with attacked(tmp_path, {"smtp": {"max_connections": 200}}, "flood of connections") as watch:
        port = watch.server.ports["smtp"]

        def knock(number):
            with socket.socket() as one:
                one.bind((sources[number % len(sources)], 0))
                one.connect((HOST, port))

        with keeping_on(knock) as count:
            letters(watch, for_s=scaled(2, 30))
        print(f"\n{count[0]} connections")


def test_pipelined_floods_of_clients_that_do_not_read(tmp_path):
    floods = (
        b"MAIL FROM:<a@b.example>\r\nRSET\r\n",
        b"HELP\r\n",
        b"NOOP\r\n",
        b"VRFY root\r\n",
        b"EHLO x\r\n",
        b"X\r\n",
    )
    with Crowd() as crowd, attacked(tmp_path, what="pipelined floods, never read") as watch:
        for number, source in enumerate(attackers(scaled(60, 600))):
            crowd.connect(
                watch.server.ports["smtp"], source, HELLO + floods[number % len(floods)] * 20_000, receives=4096
            )
        letters(watch, for_s=scaled(1, 10))


def test_endless_lines_and_endless_headers(tmp_path):
    """Four kinds: a command, a header field, header lines, and one line of content."""
    piece = b"x" * 65536
    kinds = (
        (HELLO, piece),
        (BEGUN + b"Subject: ", piece),
        (BEGUN, b"X-Line: and another one\r\n" * 2500),
        (BEGUN + b"\r\n", piece),
    )
    with Crowd() as crowd, attacked(tmp_path, what="endless lines and headers") as watch:
        ends = []
        for source in attackers(scaled(5, 20)):
            for begin, more in kinds:
                ends.append((crowd.connect(watch.server.ports["smtp"], source, begin), more))

        def go_on(number):
            one, more = ends[number % len(ends)]
            with suppress(BlockingIOError):
                one.send(more)

        with keeping_on(go_on):
            letters(watch, for_s=scaled(2, 20))


def test_a_hundred_thousand_recipients(tmp_path):
    count = scaled(20_000, 100_000)
    with Crowd() as crowd, attacked(tmp_path, what=f"{count} RCPTs each of four clients") as watch:
        for number, source in enumerate(attackers(4)):
            one = crowd.connect(watch.server.ports["smtp"], source, HELLO + b"MAIL FROM:<a@b.example>\r\n")
            one.setblocking(True)
            name = b"alice+%d" if number % 2 else b"nobody%d"
            with suppress(OSError):
                for first in range(0, count, 1000):
                    lines = b"".join(
                        b"RCPT TO:<" + name % k + b"@example.test>\r\n" for k in range(first, first + 1000)
                    )
                    one.sendall(lines)
                    one.setblocking(False)
                    with suppress(BlockingIOError):
                        while one.recv(1 << 20):
                            pass
                    one.setblocking(True)
            watch.ok()


def test_slow_readers_of_a_large_maildrop(tmp_path):
    """POP3: LIST and UIDL of many messages, asked for again and again, and never read."""
    messages = scaled(3_000, 20_000)
    with Crowd() as crowd, attacked(tmp_path, what="POP3 LIST floods, never read") as watch:
        server = watch.server
        new = server.mailbox("bob@example.test") / "new"
        new.mkdir(parents=True)
        for name in ("cur", "tmp"):
            (new.parent / name).mkdir()
        for number in range(messages):
            (new / f"1750000000.M{number}P1Q1.x,S=5,W=6").write_bytes(b"a: b\n")
        password = server.password("bob@example.test").encode()
        login = b"USER bob@example.test\r\nPASS " + password + b"\r\n"
        # One session at a time holds the maildrop; the others hear [IN-USE] and are strangers.
        for source in attackers(20):
            crowd.connect(server.ports["pop3"], source, login + b"LIST\r\nUIDL\r\n" * 5_000, receives=4096)
        letters(watch, for_s=scaled(1, 10))


def test_slow_writers(tmp_path):
    """One octet at a time, in commands and in content, on all places but a few."""
    settings = {"smtp": {"max_connections": scaled(200, 2000), "command_timeout": "30s"}}
    with Crowd() as crowd, attacked(tmp_path, settings, "slow writers on all places") as watch:
        for source in attackers(scaled(9, 95)):
            for number in range(20):
                crowd.connect(watch.server.ports["smtp"], source, BEGUN if number % 2 else b"EH")

        def drip(number):
            with suppress(BlockingIOError):
                crowd.sockets[number % len(crowd.sockets)].send(b"x")

        with keeping_on(drip):
            letters(watch, for_s=scaled(1, 10))


def test_contents_that_begin_and_never_end(tmp_path):
    """A quarter of a megabyte each, held in memory until the rest comes: of a thousand that is all there is."""
    beginning = b"Subject: x\r\n\r\n" + (b"x" * 997 + b"\r\n") * 255
    with Crowd() as crowd, attacked(tmp_path, what="contents that never end") as watch:
        for source in attackers(scaled(50, 95)):
            begun = [crowd.connect(watch.server.ports["smtp"], source) for _ in range(20)]
            for one in begun:
                one.settimeout(LIMIT_S)
                one.sendall(BEGUN)
            for one in begun:
                with suppress(ConnectionError):  # some have to go by now
                    one.sendall(beginning)
            watch.ok()
        letters(watch, for_s=scaled(1, 10))


# --- TLS --------------------------------------------------------------------------------------------------------------


def test_handshakes_left_open_and_handshakes_in_numbers(tmp_path):
    with Crowd() as crowd, attacked(tmp_path, what="TLS handshakes, open and in numbers") as watch:
        ports = watch.server.ports
        hello = client_hello()
        for number, source in enumerate(attackers(scaled(10, 90))):
            for _ in range(20):
                port, octets = (("submissions", b""), ("submissions", hello[:50]), ("submissions", hello))[number % 3]
                crowd.connect(ports[port], source, octets)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        sources = attackers(50)

        def shake(number):
            with socket.socket() as one:
                one.settimeout(LIMIT_S)
                one.bind((sources[-1 - number % 25], 0))
                one.connect((HOST, ports["submissions" if number % 2 else "pop3s"]))
                with context.wrap_socket(one):
                    pass

        with keeping_on(shake) as count:
            letters(watch, for_s=scaled(2, 30))
        print(f"\n{count[0]} handshakes")


def client_hello():
    """The first flight of a TLS client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    client = context.wrap_bio(incoming, outgoing, server_hostname="mail.example.test")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


# --- passwords --------------------------------------------------------------------------------------------------------


def test_guesses_from_many_addresses_keep_no_mail_out(tmp_path):
    """More guessers than there are places: those who are held back go first."""
    settings = {"smtp": {"max_connections": scaled(400, 2000)}}
    guess = HELLO + f"AUTH PLAIN {plain(ALICE, 'guess')}\r\n".encode() * 4
    with Crowd() as crowd, attacked(tmp_path, settings, "password guesses from 199 addresses") as watch:
        for number, source in enumerate(attackers(199)):
            for _ in range(scaled(4, 20)):
                crowd.connect(watch.server.ports["submission"], source, guess)
            if number % 40 == 0:
                watch.ok()
        letters(watch, for_s=scaled(2, 30))


# --- DNS --------------------------------------------------------------------------------------------------------------


def test_a_name_server_that_never_answers_for_many_destinations(tmp_path):
    """Mail to hundreds of domains waits; what comes in is not held up, and descriptors stay bounded."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind((HOST, 0))
        settings = {
            "dns": {"servers": [f"{HOST}:{mute.getsockname()[1]}"]},
            "smtp": {"trusted_networks": ["127.0.2.0/24"]},
        }
        with attacked(tmp_path, settings, "slow DNS for many destinations") as watch:
            for number in range(scaled(150, 1500)):
                send(watch.server, "127.0.2.1", f"x@d{number}.slow.example")
                if number % 50 == 0:
                    watch.ok()
            letters(watch, for_s=scaled(1, 20))
            assert descriptors(watch.server.pid) < 1200


def descriptors(pid):
    from pathlib import Path

    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
