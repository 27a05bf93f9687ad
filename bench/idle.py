"""What an idle SMTP connection costs: memory, and the wait of the next client for its banner."""

import resource
import socket
import time
from dataclasses import asdict, dataclass

from bench.measure import median, resident_octets
from bench.servers import SmtpServer

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Figures:
    """`served` of the connections asked for got a banner. Memory is the growth of resident memory, divided by them."""

    served: int
    octets_per_connection: float
    banner_ms: float


def allow_descriptors(count: int) -> None:
    """Raise this process's own limit of open files as far as needed and allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


def greeted(port: int, timeout_s: float = TIMEOUT_S) -> socket.socket | None:
    """A connection that has its banner; None when it is turned away or left waiting."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
    try:
        if connection.recv(512).startswith(b"220"):
            return connection
    except OSError:
        pass
    connection.close()
    return None


def measure(server: SmtpServer, connections: int) -> dict[str, float]:
    """Open them, say EHLO on each, look at the memory, and ask fifty times for a new banner."""
    allow_descriptors(connections + 200)
    for _ in range(20):  # so that what is made once is there before
        if (warm := greeted(server.port)) is not None:
            warm.close()
    time.sleep(0.2)
    before = resident_octets(server.group)
    held: list[socket.socket] = []
    try:
        for _ in range(connections):
            connection = greeted(server.port, 1.0)
            if connection is None:
                break
            connection.sendall(b"EHLO idle.test\r\n")
            connection.recv(4096)
            held.append(connection)
        grown = resident_octets(server.group) - before
        waits = [_banner_ms(server.port) for _ in range(50 if len(held) == connections else 1)]
    finally:
        for connection in held:
            connection.close()
    served = max(len(held), 1)
    return asdict(Figures(len(held), grown / served, median(waits)))


def _banner_ms(port: int) -> float:
    """The wait for a banner; infinite when there is none within a second."""
    began = time.perf_counter()
    connection = greeted(port, 1.0)
    if connection is None:
        return float("inf")
    took = (time.perf_counter() - began) * 1e3
    connection.close()
    return took
