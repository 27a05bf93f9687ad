"""POP3 beyond one large mailbox: small and very large ones, many clients at once, one large message, deleting all.

Which lean client does what is the same for both servers. The 20 clients run in two processes, so that the client is
not what is measured.
"""

import multiprocessing
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bench.mailboxes import MailboxServer, linked, logins
from bench.measure import median
from bench.pop3 import QUIET_S, TIMEOUT_S, Client, fill, fill_with_names

CLIENTS, MESSAGES = 20, 1_000
BOXES = (1_000, 100_000)
LARGE_OCTETS, LARGE_TIMES = 25 << 20, 4
ACCOUNTS = logins(CLIENTS)
_FIRST = ACCOUNTS[0]
_PROCESSES = 2

Measured = dict[str, dict[str, float]]


def measure_boxes(servers: Sequence[MailboxServer], rounds: int) -> Measured:
    """Login and STAT, cold and warm, in milliseconds, by server; `1,000 cold` and so on. Our names have the sizes."""
    result: Measured = {server.name: {} for server in servers}
    for count in BOXES:
        samples: dict[str, list[tuple[float, float]]] = {server.name: [] for server in servers}
        for _ in range(rounds):
            for server in servers:
                server.renew([_FIRST], partial(fill_with_names, count=count))
                samples[server.name].append((_login_ms(server, count), _warm_ms(server, count)))
        for name, took in samples.items():
            result[name][f"{count:,} cold"] = median([cold for cold, _ in took])
            result[name][f"{count:,} warm"] = median([warm for _, warm in took])
    return result


def _login_ms(server: MailboxServer, count: int) -> float:
    client = Client(server.port())
    began = time.perf_counter()
    said = client.login_and_stat(_FIRST)
    took_ms = (time.perf_counter() - began) * 1e3
    if int(said.split()[1]) != count:
        raise RuntimeError(f"{server.name} should have {count} messages and says {said!r}")
    client.close()
    return took_ms


def _warm_ms(server: MailboxServer, count: int) -> float:
    """See `bench.pop3`."""
    time.sleep(QUIET_S)
    _login_ms(server, count)
    return median([_login_ms(server, count) for _ in range(3)])


def measure_fetching(servers: Sequence[MailboxServer], folder: Path, rounds: int) -> Measured:
    """Messages a second for many clients, MB/s of a large message, and milliseconds to delete all, by server."""
    source = folder / "source"
    fill(source, MESSAGES)
    workloads: dict[str, Callable[[MailboxServer], float]] = {
        "many_clients_per_s": lambda server: _many_clients(server, source),
        "large_mb_per_s": _large,
        "delete_all_ms": _delete_all,
    }
    result: Measured = {server.name: {} for server in servers}
    for title, workload in workloads.items():
        samples: dict[str, list[float]] = {server.name: [] for server in servers}
        for _ in range(rounds):
            for server in servers:
                samples[server.name].append(workload(server))
        for name, figures in samples.items():
            result[name][title] = median(figures)
    return result


def _many_clients(server: MailboxServer, source: Path) -> float:
    """All 20 mailboxes are fetched at once, each message after the one before; the second time counts.

    The first login of a mailbox is another row.
    """
    server.renew(ACCOUNTS, linked(source))
    share = [ACCOUNTS[first::_PROCESSES] for first in range(_PROCESSES)]
    with multiprocessing.get_context("fork").Pool(_PROCESSES) as pool:
        pool.starmap(_fetch_all, [(server.port(), accounts, 1) for accounts in share], chunksize=1)
        took = pool.starmap(_fetch_all, [(server.port(), accounts, MESSAGES) for accounts in share], chunksize=1)
    return CLIENTS * MESSAGES / max(took)


def _fetch_all(port: int, accounts: Sequence[str], count: int) -> float:
    """Fetch the first `count` messages of each account, all accounts side by side; the seconds that took."""
    clients = [Client(port) for _ in accounts]
    try:
        for client, account in zip(clients, accounts, strict=True):
            client.login_and_stat(account)
        began = time.perf_counter()
        with selectors.DefaultSelector() as selector:
            for client in clients:
                selector.register(client.socket, selectors.EVENT_READ, [1, b""])
                client.socket.sendall(b"RETR 1\r\n")
            while selector.get_map():
                for key, _ in selector.select(TIMEOUT_S):
                    _take(selector, key, count)
        return time.perf_counter() - began
    finally:
        for client in clients:
            client.close()


def _take(selector: selectors.BaseSelector, key: selectors.SelectorKey, count: int) -> None:
    """Octets came: ask for the next message when this one is whole."""
    connection, state = key.fileobj, key.data
    assert isinstance(connection, socket.socket)
    piece = connection.recv(65536)
    if not piece:
        raise RuntimeError("the server hung up")
    state[1] = (state[1] + piece[-5:])[-5:]
    if state[1] != b"\r\n.\r\n":
        return
    state[:] = [state[0] + 1, b""]
    if state[0] > count:
        selector.unregister(connection)
    else:
        connection.sendall(b"RETR %d\r\n" % state[0])


def _large(server: MailboxServer) -> float:
    server.renew([_FIRST], lambda maildir: fill(maildir, 1, length_octets=LARGE_OCTETS))
    client = Client(server.port())
    client.login_and_stat(_FIRST)
    client.multiline(b"RETR 1")
    began = time.perf_counter()
    octets = sum(client.multiline(b"RETR 1") for _ in range(LARGE_TIMES))
    took = time.perf_counter() - began
    client.close()
    return octets / took / 1e6


def _delete_all(server: MailboxServer) -> float:
    """Every message marked, each command after the answer to the one before, then QUIT until it is answered."""
    server.renew([_FIRST], lambda maildir: fill(maildir, MESSAGES))
    client = Client(server.port())
    client.login_and_stat(_FIRST)
    began = time.perf_counter()
    for number in range(1, MESSAGES + 1):
        client.command(b"DELE %d" % number)
    client.command(b"QUIT")
    took_ms = (time.perf_counter() - began) * 1e3
    client.socket.close()
    return took_ms
