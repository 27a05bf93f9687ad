"""unbound as the DNS of a test: it knows the zones it is told, and nothing else."""

from collections.abc import Iterable
from pathlib import Path

from tests.peers.programs import need
from tests.peers.running import HOST, Daemon, free_port
from tests.peers.signed_zones import MadeZone

_CONFIGURATION = """\
server:
  interface: {host}@{port}
  username: ""
  chroot: ""
  directory: "{home}"
  pidfile: "{home}/unbound.pid"
  use-syslog: no
  logfile: ""
  do-daemonize: no
  do-not-query-localhost: no
  module-config: "{modules}"
  # Whatever is not told below does not exist; no packet leaves the machine.
  local-zone: "." static
{records}
remote-control:
  control-enable: no
"""
_STUB = """\
stub-zone:
  name: "{zone}"
  stub-addr: {host}@{port}
"""


class Unbound:
    """A resolver on `port` that answers from `records`, lines such as `remote.test. MX 10 mx.remote.test.`.

    With `zones` it also looks names up at the authoritative server on `zones_port`, and validates: those zones that
    have a key must be signed with it, the others are known to be unsigned.
    """

    def __init__(
        self, home: Path, records: Iterable[str], port: int = 0, *, zones: Iterable[MadeZone] = (), zones_port: int = 0
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        configuration = home / "unbound.conf"
        lines = [f"  local-data: '{record}'" for record in records]
        stubs = ""
        for made in zones:
            zone = made.zone.origin.to_text()
            lines += [f'  local-zone: "{zone}" transparent']
            lines += [f'  trust-anchor: "{made.anchor}"' if made.anchor else f'  domain-insecure: "{zone}"']
            stubs += _STUB.format(zone=zone, host=HOST, port=zones_port)
        modules = "validator iterator" if stubs else "iterator"
        text = _CONFIGURATION.format(host=HOST, port=self.port, home=home, modules=modules, records="\n".join(lines))
        configuration.write_text(text + stubs)
        environment = {"PATH": "/usr/sbin:/usr/bin"}
        self._daemon = Daemon("unbound", home, [need("unbound"), "-d", "-c", str(configuration)], environment)

    def start(self) -> "Unbound":
        """Start it and wait until it takes connections."""
        self._daemon.start(self.port, b"")
        return self

    def stop(self) -> None:
        """Stop it."""
        self._daemon.stop()

    def read_log(self) -> str:
        """The end of what it said."""
        return self._daemon.read_log()
