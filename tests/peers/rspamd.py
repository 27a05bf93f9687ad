"""rspamd with no rules but its own test words, no redis, and nothing of the machine's configuration."""

import os
import signal
from pathlib import Path

from tests.peers.programs import need_peer, peer_environment
from tests.peers.running import HOST, Daemon, free_port

# Words that rspamd knows for tests: what each makes of a message that holds it (the first is GTUBE itself).
_WORD = "%sJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
REJECT, ADD_HEADER, REWRITE_SUBJECT = (_WORD % letter for letter in "XYZ")

_CONFIGURATION = """\
options {{
  pidfile = "{home}/rspamd.pid";
  tempdir = "{home}";
  hs_cache_dir = "{home}";
  url_tld = "{home}/tlds";
  filters = "";
  enable_test_patterns = true;
  check_local = true;
  local_addrs = [];
  max_cores_size = 0;
  # With none of its history it crashes (3.4).
  history_rows = 10;
  dns {{ nameserver = ["{host}:1"]; timeout = 0.1s; retransmits = 0; }}
}}
logging {{ type = "console"; level = "info"; }}
worker "normal" {{ bind_socket = "{host}:{port}"; count = 1; }}
metric {{ name = "default"; actions {{ reject = 15; add_header = 6; greylist = 4; }} }}
"""


class Rspamd:
    """A normal worker on `port`."""

    def __init__(self, home: Path, port: int = 0) -> None:
        home.mkdir(mode=0o755)
        self.port = port or free_port()
        # All of the world's would take it five seconds to read.
        (home / "tlds").write_text("com\norg\nnet\nexample\ntest\n")
        configuration = home / "rspamd.conf"
        configuration.write_text(_CONFIGURATION.format(home=home, host=HOST, port=self.port))
        program = need_peer("usr/bin/rspamd")
        environment = peer_environment()
        environment["LD_LIBRARY_PATH"] = need_peer("usr/lib/rspamd") + ":" + environment["LD_LIBRARY_PATH"]
        for name, folder in (
            ("SHAREDIR", ""),
            ("LUALIBDIR", "lualib"),
            ("RULESDIR", "rules"),
            ("PLUGINSDIR", "plugins"),
        ):
            environment[name] = need_peer(f"usr/share/rspamd/{folder}")
        # --insecure: it may run as root, for whom only this test's folder is there.
        command = [program, "-f", "--insecure", "-c", str(configuration)]
        self._daemon = Daemon("rspamd", home, command, environment)

    def start(self) -> "Rspamd":
        """Start it and wait until it takes connections."""
        self._daemon.start(self.port, b"")
        return self

    def stop(self) -> None:
        """Stop it, workers and all."""
        self._daemon.stop()

    def kill(self) -> None:
        """All of it at once, as a crash does."""
        os.killpg(self._daemon.pid, signal.SIGKILL)
        self._daemon.stop()

    def pause(self) -> None:
        """It keeps its port and does nothing any more."""
        os.killpg(self._daemon.pid, signal.SIGSTOP)

    def read_log(self) -> str:
        """The end of what it said."""
        return self._daemon.read_log()
