"""The page `/status` and its sister for Prometheus, from facts. Pure: nothing is looked up here.

Server-rendered, no script, no picture, nothing from elsewhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

METRICS_KIND = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Status:
    """How the server is. Ages and times in seconds; `oldest_s` None when nothing waits."""

    hostname: str
    uptime_s: float
    queued: int
    oldest_s: float | None
    connections: tuple[tuple[str, int], ...]
    certificate_names: tuple[str, ...]
    certificate_left_s: float


def page(status: Status) -> bytes:
    """HTML."""
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>\n" for name, value in _rows(status))
    title = f"{escape(status.hostname)}: status"
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title>\n'
        "<style>body{font-family:sans-serif;margin:2em}th{text-align:left;padding-right:2em;font-weight:normal}"
        "td{font-weight:bold}</style></head>\n"
        f"<body>\n<h1>{title}</h1>\n<table>\n{rows}</table>\n</body>\n</html>\n"
    ).encode()


def _rows(status: Status) -> Iterator[tuple[str, str]]:
    yield "Runs for", in_words(status.uptime_s)
    yield "Messages in the queue", str(status.queued)
    yield "The oldest of them waits for", "-" if status.oldest_s is None else in_words(status.oldest_s)
    for service, count in status.connections:
        yield f"Connections: {service}", str(count)
    yield "Certificate for", ", ".join(status.certificate_names) or "no name"
    left = status.certificate_left_s
    yield "Certificate expires in", in_words(left) if left > 0 else f"expired for {in_words(-left)}"


def in_words(seconds: float) -> str:
    """`3 d 4 h`, `12 min`, `5 s`: two units at most, rounded down."""
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole % 86400 // 3600, whole % 3600 // 60
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min" if minutes else f"{whole} s"


def metrics(status: Status) -> bytes:
    """The same in Prometheus' text format."""
    return "".join(f"{line}\n" for line in _metrics(status)).encode()


def _metrics(status: Status) -> Iterator[str]:
    for name, says, value in (
        ("uptime_seconds", "Since the server began to run.", int(status.uptime_s)),
        ("queue_messages", "Messages that wait.", status.queued),
        ("queue_oldest_seconds", "Age of the oldest message that waits.", int(status.oldest_s or 0)),
        ("certificate_left_seconds", "Until the certificate expires.", int(status.certificate_left_s)),
    ):
        yield f"# HELP mailserver_{name} {says}"
        yield f"# TYPE mailserver_{name} gauge"
        yield f"mailserver_{name} {value}"
    yield "# HELP mailserver_connections Open connections."
    yield "# TYPE mailserver_connections gauge"
    for service, count in status.connections:
        yield f'mailserver_connections{{service="{service}"}} {count}'
