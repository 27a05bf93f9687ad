"""The words that go over `<state>/control.sock`, and the command line's end of it. Blocking, no Twisted.

One JSON object on a line each way, ASCII; the server's end is `net.control`. While the server runs it is the only one
who changes the queue (design section 5, "Who writes"), so the command line asks it.
"""

import json
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

SOCKET_NAME = "control.sock"
# sockaddr_un holds 108 octets, the last is NUL.
MAX_PATH_OCTETS = 107
MAX_LINE_OCTETS = 1 << 20
# Callers with more ids than this ask several times.
MAX_IDS = 10_000
_TIMEOUT_S = 60.0


class ControlUnavailable(Exception):
    """Nobody listens: the server does not run, or is just starting or stopping."""


class ControlFailed(Exception):
    """The server was asked and said no, or nonsense. The text is for the operator."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: `queue-retry`, `queue-remove` or `queue-running`; a server may know more.

    `ids` are queue ids; `all` stands for every message; `domain` narrows a retry to one domain's recipients. `by` is
    who asks, for the journal: whoever gets into the socket is the owner of the state folder or root, and is believed.
    `about` holds what else a command takes, text by name.
    """

    command: str
    ids: tuple[str, ...] = ()
    all: bool = False
    domain: str = ""
    by: str = ""
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered. `error` not empty: it was not done, and why."""

    error: str = ""
    count: int = 0
    ids: tuple[str, ...] = ()
    about: Mapping[str, str | int | float | bool] = field(default_factory=dict)


def socket_path(state: Path) -> Path:
    """Where the socket is. Raises `ValueError` with a text for the operator when no socket can have that path."""
    path = state / SOCKET_NAME
    length = len(str(path).encode("utf-8", "surrogateescape"))
    if length > MAX_PATH_OCTETS:
        raise ValueError(
            f"{path} is {length} octets long, and a Unix socket's path ends at {MAX_PATH_OCTETS}: "
            "choose a shorter folder for [storage] state"
        )
    return path


def encode_request(request: Request) -> bytes:
    """A line."""
    return json.dumps({**asdict(request), "about": dict(request.about)}).encode("ascii") + b"\n"


def decode_request(line: bytes) -> Request:
    """Strict: raises `ValueError` with a text that may be told to the caller."""
    about = _object(line)
    if not {"command", "ids", "all", "domain", "by", "about"}.issuperset(about):
        raise ValueError("the request has unknown parts")
    ids, command, domain, is_all = about.get("ids", []), about.get("command"), about.get("domain", ""), about.get("all")
    by, rest = about.get("by", ""), about.get("about", {})
    if not isinstance(command, str) or not isinstance(domain, str) or not isinstance(is_all, bool | None):
        raise ValueError("the request has parts of the wrong kind")
    if not isinstance(by, str) or not isinstance(rest, dict) or not all(isinstance(one, str) for one in rest.values()):
        raise ValueError("the request has parts of the wrong kind")
    if not isinstance(ids, list) or len(ids) > MAX_IDS or not all(isinstance(one, str) for one in ids):
        raise ValueError(f"ids is a list of at most {MAX_IDS} texts")
    return Request(command, tuple(ids), bool(is_all), domain, by, rest)


def encode_response(response: Response) -> bytes:
    """A line."""
    return json.dumps({**asdict(response), "about": dict(response.about)}).encode("ascii") + b"\n"


def decode_response(line: bytes) -> Response:
    """Raises `ValueError`."""
    about = _object(line)
    error, count, ids, rest = (
        about.get("error", ""),
        about.get("count", 0),
        about.get("ids", []),
        about.get("about", {}),
    )
    if not isinstance(error, str) or not isinstance(count, int) or not isinstance(ids, list):
        raise ValueError("the answer has parts of the wrong kind")
    if not all(isinstance(one, str) for one in ids) or not isinstance(rest, dict):
        raise ValueError("the answer has parts of the wrong kind")
    return Response(error, count, tuple(ids), rest)


def ask(state: Path, request: Request, timeout_s: float = _TIMEOUT_S) -> Response:
    """Ask the running server. Raises `ControlUnavailable`, `ControlFailed`, or `ValueError` for an impossible path."""
    path = socket_path(state)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise ControlUnavailable(f"nobody listens on {path}") from error
        except OSError as error:
            raise ControlFailed(f"{path}: {error.strerror or error}") from error
        try:
            connection.sendall(encode_request(request))
            with connection.makefile("rb") as answers:
                line = answers.readline()
        except OSError as error:
            raise ControlFailed(f"the server did not answer on {path}: {error.strerror or error}") from error
    if not line.endswith(b"\n"):
        raise ControlUnavailable("the server closed the connection")
    try:
        response = decode_response(line)
    except ValueError as error:
        raise ControlFailed(f"the server's answer cannot be read: {error}") from error
    if response.error:
        raise ControlFailed(response.error)
    return response


def _object(line: bytes) -> dict[str, object]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError("it is not one JSON object on a line") from error
    if not isinstance(value, dict):
        raise ValueError("it is not one JSON object on a line")
    return value
