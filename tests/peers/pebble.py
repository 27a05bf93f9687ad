"""pebble, the ACME authority that Let's Encrypt's people test clients with, and what it asks: our fake name server.

Its root is new at each start. Nothing is kept, and it finds 5 % of all nonces too old unless it is told otherwise.
"""

import json
import ssl
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from tests.peers.certificates import Certificate
from tests.peers.programs import CHECKOUT, need_peer, peer_environment
from tests.peers.running import HOST, Daemon, free_port


class FakeDns:
    """`tests.fakes.dns_server` in a process of its own, with one zone file."""

    def __init__(self, home: Path, zone: Mapping[str, object]) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.zone_file = home / "zone.json"
        self.zone_file.write_text(json.dumps(zone))
        command = [sys.executable, "-m", "tests.fakes.dns_server", "--port", str(self.port), str(self.zone_file)]
        environment = {"PYTHONPATH": str(CHECKOUT), "PATH": "/usr/bin:/bin"}
        self._daemon = Daemon("the fake name server", home, command, environment)

    def start(self) -> "FakeDns":
        """Start it and wait until it takes connections."""
        self._daemon.start(self.port, b"")
        return self

    def stop(self) -> None:
        """Stop it."""
        self._daemon.stop()


class Pebble:
    """One authority. `http_port` is where it looks for http-01; names are looked up at `dns`."""

    def __init__(
        self,
        home: Path,
        certificate: Certificate,
        *,
        http_port: int,
        dns: FakeDns,
        account_keys: Mapping[str, str] | None = None,
        refuses_nonces: int = 5,
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._ca = certificate.authority
        self.port, self.management_port = free_port(), free_port()
        about = {
            "listenAddress": f"{HOST}:{self.port}",
            "managementListenAddress": f"{HOST}:{self.management_port}",
            "certificate": str(certificate.chain),
            "privateKey": str(certificate.private_key),
            "httpPort": http_port,
            "tlsPort": free_port(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": account_keys is not None,
            "externalAccountMACKeys": dict(account_keys or {}),
        }
        configuration = home / "pebble.json"
        configuration.write_text(json.dumps({"pebble": about}))
        environment = {
            **peer_environment(),
            "PEBBLE_VA_NOSLEEP": "1",
            "PEBBLE_AUTHZREUSE": "0",
            "PEBBLE_WFE_NONCEREJECT": str(refuses_nonces),
        }
        command = [
            need_peer("usr/bin/pebble"), "-config", str(configuration), "-dnsserver", f"{HOST}:{dns.port}", "-strict",
        ]  # fmt: skip
        self._daemon = Daemon("pebble", home, command, environment)

    @property
    def directory(self) -> str:
        """Its address for `[acme] directory`."""
        return f"https://{HOST}:{self.port}/dir"

    @property
    def settings(self) -> dict[str, object]:
        """The table `[acme]` with which a server asks this authority."""
        return {"directory": self.directory, "agree_terms": True, "ca_file": str(self._ca)}

    def root(self) -> str:
        """The root certificate of what it issues, as PEM."""
        context = ssl.create_default_context(cafile=str(self._ca))
        address = f"https://{HOST}:{self.management_port}/roots/0"
        with urllib.request.urlopen(address, context=context, timeout=10) as answer:
            return answer.read().decode("ascii")

    def start(self) -> "Pebble":
        """Start it and wait until it takes connections."""
        self._daemon.start(self.port, b"")
        return self

    def stop(self) -> None:
        """Stop it."""
        self._daemon.stop()

    def read_log(self) -> str:
        """The end of what it said."""
        return self._daemon.read_log()
