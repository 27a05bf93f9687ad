"""Finding and reading the file. Blocking; the only module of this room that touches the disk."""

import os
import tomllib
from pathlib import Path

import attrs

from mailserver.config.fault import ConfigError
from mailserver.config.listeners import ListenerCheck
from mailserver.config.rules import broken_rules, unwise
from mailserver.config.schema import Config
from mailserver.config.structure import structure
from mailserver.config.syntax import syntax_error

# The first is meant for a checkout: relative to the working directory.
DEFAULT_PATHS = (Path("etc/mailserver.toml"), Path("/etc/mailserver/mailserver.toml"))
# A configuration has a few kilobytes. A device or a mailbox file given by mistake must not fill the memory.
_MAX_OCTETS = 1_000_000


def find_config(given: Path | None = None) -> Path:
    """The file that was given, or the first of `DEFAULT_PATHS` that exists. Raises `ConfigError`."""
    if given is not None:
        return given
    for path in DEFAULT_PATHS:
        if path.exists():
            return path
    looked = " or ".join(str(path) for path in DEFAULT_PATHS)
    raise ConfigError([f"no configuration found at {looked}; name the file with --config FILE"])


def load_config(path: Path | str | None = None, check_listener: ListenerCheck | None = None) -> Config:
    """Read, check and freeze the configuration. Blocks; opens nothing but the file.

    `check_listener` reads listener strings (it needs Twisted and comes from `net`); without it they are taken as they
    are, and the rules about them are not applied. Raises `ConfigError` with all errors, each with the file's name.
    """
    path = find_config(Path(path) if path is not None else None)
    return read_config(_text(path), path, check_listener)


def read_config(text: str, path: Path, check_listener: ListenerCheck | None = None) -> Config:
    """The same from a text that stands at `path`, or is going to. Touches no disk."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: {syntax_error(error, text)}"]) from None
    except RecursionError:
        raise ConfigError([f"{path}: not valid TOML: brackets are nested too deeply"]) from None
    base = Path(os.path.abspath(path)).parent  # noqa: PTH100 - resolve() would follow a linked file to another folder
    config, wrong_keys = structure(table, base)
    config = _completed(config, path, base)
    errors = [wrong.text for wrong in wrong_keys]
    for broken in broken_rules(config, check_listener):
        # What a wrong key has to do with others cannot be known until it is right.
        if not any(wrong.key in broken for wrong in wrong_keys):
            errors.append(broken)
    if errors:
        raise ConfigError([f"{path}: {error}" for error in errors])
    return attrs.evolve(config, warnings=tuple(f"{path}: {text}" for text in unwise(config, check_listener)))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            octets = file.read(_MAX_OCTETS + 1)
    except FileNotFoundError:
        raise ConfigError([f"{path}: there is no such file"]) from None
    except IsADirectoryError:
        raise ConfigError([f"{path}: this is a folder; name the file in it"]) from None
    except PermissionError:
        raise ConfigError([f"{path}: cannot be read by {_who()}: permission denied"]) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError([f"{path}: cannot be read: {reason}"]) from None
    if len(octets) > _MAX_OCTETS:
        raise ConfigError([f"{path}: this is not a configuration: it is larger than 1 MB"])
    try:
        # Some editors put a byte order mark first; TOML does not know it.
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}: line {line}: not UTF-8; save the file in that encoding"]) from None


def _who() -> str:
    return "root" if os.geteuid() == 0 else f"user id {os.geteuid()}"


def _completed(config: Config, path: Path, base: Path) -> Config:
    """Fill in what depends on other keys or on where the file is."""

    def absolute(written: Path) -> Path:
        return Path(os.path.normpath(base / written))

    storage = attrs.evolve(
        config.storage, maildirs=absolute(config.storage.maildirs), state=absolute(config.storage.state)
    )
    return attrs.evolve(
        config,
        path=base / path.name,
        storage=storage,
        accounts=attrs.evolve(config.accounts, file=absolute(config.accounts.file)),
        relay=attrs.evolve(config.relay, helo=config.relay.helo or config.hostname),
    )
