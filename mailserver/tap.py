"""`twistd mailserver`: the options, and `makeService`, the one place that imports the global reactor.

Everything that can be wrong with a start is found here, before twistd goes into the background: one text on the
terminal, exit status 1, no traceback, no port left open.
"""

import gc
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from twisted.application.service import IService
from twisted.python import usage

from mailserver.config import DEFAULT_PATHS, Config, ConfigError, find_config, load_config
from mailserver.identity import Identity, acting_as, identity_to_be
from mailserver.mail.reply import printable
from mailserver.net.clock import use_monotonic_time
from mailserver.net.listener_text import check_listener
from mailserver.twistd_files import DEFAULT_LOG, trouble_with_twistd_files

_ABOUT = f"""\
Runs the mail server that the configuration describes: SMTP, submission, relay and POP3 in one process.

  twistd -n mailserver                          in the foreground, log on the terminal; stop with Ctrl-C
  twistd -n mailserver --config my.toml         with another configuration
  twistd --pidfile=/run/mailserver.pid --logfile=/var/log/mailserver/log mailserver
                                                in the background (without these two options, pid and log are
                                                written into the current folder)
  twistd -n --uid mail --gid mail mailserver    started as root for the ports below 1024, runs as mail

Without --config the first of these is taken: {", ".join(str(path) for path in DEFAULT_PATHS)}

SIGHUP reads accounts, aliases and certificates again; SIGTERM finishes what is under way and stops.
`mailserver check-config` tells what is wrong with a configuration; `mailserver --help` lists what else there is.
"""


class Options(usage.Options):
    """Values only; `makeService` does the rest."""

    synopsis = "[options]"
    longdesc = _ABOUT
    optParameters = [["config", "c", None, "The configuration file (TOML)."]]  # noqa: RUF012 - Twisted's way

    def opt_version(self) -> None:
        """Print version information and exit."""
        from importlib.metadata import version

        sys.stdout.write(f"mailserver {version('mailserver')}, Twisted {version('twisted')}\n")
        raise SystemExit(0)

    def getUsage(self, width: int | None = None) -> str:
        """As Twisted has it, but with the examples as they were written: it would fill them into one paragraph."""
        self.longdesc = ""
        return f"{super().getUsage(width)}\n{_ABOUT}"


def makeService(options: Mapping[str, Any]) -> IService:
    """The service of `twistd mailserver`. Raises `SystemExit` with a text for the operator.

    Sockets are bound first, as whoever started us (root, for low ports). Then state, accounts and certificates are
    looked at as the user the server will run as, so that nothing there ever belongs to root.
    """
    config = _config(options)
    parent = getattr(options, "parent", None) or {}
    if trouble_with_files := trouble_with_twistd_files(parent):
        raise _refusal(trouble_with_files)
    # Mail is nobody else's business. twistd's own --umask comes later and has the last word.
    os.umask(0o077)
    identity = identity_to_be(parent)

    from twisted.internet import reactor

    with _no_collection():
        from mailserver.foundation import StartTrouble, lay_foundation
        from mailserver.net.listeners import ListenTrouble, bind_listeners, raise_descriptor_limit
        from mailserver.service import build_service, listeners_of
        from mailserver.store.drop_folders import make_drop_folder

    sys.excepthook = _without_traceback(sys.excepthook, (StartTrouble, ListenTrouble))
    use_monotonic_time(reactor)
    raise_descriptor_limit()
    try:
        listeners = bind_listeners(reactor, listeners_of(config))
    except ListenTrouble as trouble:
        raise _refusal(f"{trouble}{_already_running(config)}") from None
    try:
        with acting_as(identity):
            foundation = lay_foundation(config, time.time())
    except StartTrouble as trouble:
        for listener in listeners:
            listener.close()
        raise _refusal(str(trouble)) from None
    # As root, if root starts us: /var/spool is root's.
    make_drop_folder(config.sendmail.drop, *(() if identity is None else (identity.uid, identity.gid)))
    # What was imported lives as long as the process; the collector need not walk through it again and again.
    reactor.callWhenRunning(gc.freeze)
    if foundation.practice:
        _print_settings(foundation, listeners)
    return build_service(config, reactor, foundation, listeners, files_of_root=_files_of_root(parent, identity))


def _config(options: Mapping[str, Any]) -> Config:
    given = options.get("config")
    try:
        return load_config(find_config(Path(given) if given else None), check_listener)
    except ConfigError as error:
        raise _refusal(str(error)) from None


def _already_running(config: Config) -> str:
    """Who holds the state folder, when that explains why a port is taken."""
    from mailserver.foundation import running_server

    holder = running_server(config.storage.state)
    return (
        f"\nThe state folder {config.storage.state} is in use by {holder}: the server runs already." if holder else ""
    )


def _print_settings(foundation: Any, listeners: Any) -> None:
    """On the terminal, before the log begins; in the background too, because twistd has not left the terminal yet."""
    from mailserver.practice import Place, settings_text

    places = [Place(listener.service, "localhost", listener.port) for listener in listeners]
    sys.stdout.write(settings_text(foundation.practice, places, foundation.self_signed))
    sys.stdout.flush()


def _files_of_root(parent: Mapping[str, Any], identity: Identity | None) -> Any:
    """A call that gives twistd's own log and pid file, which root opens, to the user that goes on writing them."""
    if identity is None:
        return None
    log, pid = parent.get("logfile"), parent.get("pidfile")
    if not log and not parent.get("nodaemon"):
        log = DEFAULT_LOG
    paths = [Path(str(name)).absolute() for name in (log, pid) if name and name != "-"]

    def give_away() -> None:
        for path in paths:
            identity.own(path)

    return give_away


def _without_traceback(
    otherwise: Callable[[type[BaseException], BaseException, TracebackType | None], Any],
    plain: tuple[type[BaseException], ...],
) -> Callable[[type[BaseException], BaseException, TracebackType | None], Any]:
    """An excepthook that tells these in our words: a Unix socket is made only when the service starts."""

    def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, plain):
            # twistd has made a log of standard error by then.
            print(_refusal(str(error)), file=sys.__stderr__)
        else:
            otherwise(kind, error, trace)

    return tell


@contextmanager
def _no_collection() -> Iterator[None]:
    """What is imported stays; looking through it for garbage is a twelfth of the start (docs/performance.md)."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        # Or the first thing it did would be to look through all of it.
        gc.freeze()
        if was_enabled:
            gc.enable()


def _refusal(text: str) -> SystemExit:
    """Each line of the text with our name before it: twistd says nothing itself."""
    return SystemExit("\n".join(f"mailserver: {printable(line)}" for line in text.splitlines()))
