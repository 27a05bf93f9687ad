"""The command line of `sendmail`, as programs have called it for forty years. Pure.

Options come before recipients and end at the first word that is none (POSIX). That is on purpose: a web form that puts
an address beginning with `-` behind the options must not get to choose options (CVE-2016-10033).
"""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TypeVar

from mailserver.mail.address_fields import addresses_in_text
from mailserver.mail.envelope import Body, Notify, Ret

E = TypeVar("E", bound=Enum)


class UsageFault(Exception):
    """Called the wrong way. The text is for who called."""


class Mode(Enum):
    """What is asked for (`-b`)."""

    DELIVER = "m"
    SMTP = "s"
    QUEUE = "p"
    ALIASES = "i"
    HELP = "help"
    NOTHING = "nothing"  # `sendmail -q`: the server looks after its queue by itself


@dataclass(slots=True)
class Options:
    """`sender` None: not said; empty: the null reverse-path. `recipients` as they were written."""

    mode: Mode = Mode.DELIVER
    recipients: tuple[str, ...] = ()
    has_recipients_in_header: bool = False
    ignores_dots: bool = False
    sender: str | None = None
    full_name: str = ""
    notify: frozenset[Notify] = frozenset()
    ret: Ret | None = None
    envid: str | None = None
    body: Body | None = None
    config: Path | None = None
    drop: Path | None = None


_MODES = {"m": Mode.DELIVER, "s": Mode.SMTP, "p": Mode.QUEUE, "i": Mode.ALIASES}
_DAEMON_MODES = frozenset("dDaHhtvz")
# Options that are followed by a value, glued on or as the next word.
_WITH_VALUE = frozenset("BbCFfhLNOopRrVX")
# Options whose value, if there is one, is glued on.
_WITH_GLUED_VALUE = frozenset("AdeqM")
_PLAIN = frozenset("GimnsStUvx")


def parse_options(words: list[str]) -> Options:
    """Read everything behind the program's name. Raises `UsageFault`."""
    options = Options()
    asks_queue_run = False
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            waiting.insert(0, word)
            break
        if word.startswith("--"):
            _long(options, word, waiting)
            continue
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter in _WITH_VALUE:
                if not letters and not waiting:
                    raise UsageFault(f"-{letter} needs a value")
                value, letters = letters or waiting.pop(0), ""
                _set(options, letter, value)
            elif letter in _WITH_GLUED_VALUE:
                asks_queue_run = asks_queue_run or letter == "q"
                letters = ""
            elif letter in _PLAIN:
                _switch(options, letter)
            else:
                raise UsageFault(f"unknown option -{letter}")
    options.recipients = tuple(_addresses(waiting))
    is_run_only = asks_queue_run and not options.recipients and not options.has_recipients_in_header
    if options.mode is Mode.DELIVER and is_run_only:
        options.mode = Mode.NOTHING
    return options


def _long(options: Options, word: str, waiting: list[str]) -> None:
    name, has_value, value = word.partition("=")
    if name in ("--help", "--usage"):
        options.mode = Mode.HELP
        return
    if name not in ("--drop", "--config"):
        raise UsageFault(f"unknown option {name}")
    if not has_value:
        if not waiting:
            raise UsageFault(f"{name} needs a value")
        value = waiting.pop(0)
    if name == "--drop":
        options.drop = Path(value)
    else:
        options.config = Path(value)


def _switch(options: Options, letter: str) -> None:
    if letter == "t":
        options.has_recipients_in_header = True
    elif letter == "i":
        options.ignores_dots = True


def _set(options: Options, letter: str, value: str) -> None:
    match letter:
        case "f" | "r":
            options.sender = one_address(value)
        case "F":
            options.full_name = value
        case "b":
            options.mode = _mode(value)
        case "o":
            # -oi as a letter of its own; every other of the old options is about a sendmail.cf that is not there.
            options.ignores_dots = options.ignores_dots or value == "i"
        case "O":
            options.ignores_dots = options.ignores_dots or value.lower() in ("ignoredots", "ignoredots=true")
        case "N":
            options.notify = _notify(value)
        case "R":
            options.ret = _word(Ret, value, "R")
        case "B":
            options.body = _word(Body, value, "B")
        case "V":
            if not (value.isascii() and value.isprintable() and 0 < len(value) <= 100):
                raise UsageFault("-V needs an envelope id of at most 100 printable characters")
            options.envid = value
        case "C":
            options.config = Path(value)
        case _:  # -h hops, -L tag, -p protocol, -X log: nothing here has a use for them
            pass


def _mode(value: str) -> Mode:
    if value in _DAEMON_MODES:
        raise UsageFault(f"-b{value} is not done here: the server is started with `twistd mailserver`")
    if value not in _MODES:
        raise UsageFault(f"unknown mode -b{value}")
    return _MODES[value]


def _notify(value: str) -> frozenset[Notify]:
    words = frozenset(_word(Notify, word.strip(), "N") for word in value.split(","))
    if Notify.NEVER in words and len(words) > 1:
        raise UsageFault("-N never stands alone")
    return words


def _word(kind: type[E], value: str, letter: str) -> E:
    try:
        return kind(value.upper())
    except ValueError:
        allowed = ", ".join(one.value.lower() for one in kind)
        raise UsageFault(f"-{letter} takes {allowed}") from None


def one_address(value: str) -> str:
    """The one address in an option's value; empty for `""` and `<>`. Raises `UsageFault`."""
    found = addresses_in_text(value)
    if len(found) > 1:
        raise UsageFault("a sender is one address")
    return found[0] if found else ""


def _addresses(words: list[str]) -> list[str]:
    """Recipients, each once, in order; a word may hold several with commas between them."""
    return list(dict.fromkeys(address for word in words for address in addresses_in_text(word)))
