"""unbound as the DNS of a test: it knows the zones it is told, and nothing else."""

from collections.abc import Iterable
from pathlib import Path

from tests.peers.programs import need
from tests.peers.running import HOST, Daemon, free_port

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
  module-config: "iterator"
  # Whatever is not told below does not exist; no packet leaves the machine.
  local-zone: "." static
{records}
remote-control:
  control-enable: no
"""


class Unbound:
    """A resolver on `port` that answers from `records`, lines such as `remote.test. MX 10 mx.remote.test.`."""

    def __init__(self, home: Path, records: Iterable[str], port: int = 0) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        configuration = home / "unbound.conf"
        lines = "\n".join(f"  local-data: '{record}'" for record in records)
        configuration.write_text(_CONFIGURATION.format(host=HOST, port=self.port, home=home, records=lines))
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
