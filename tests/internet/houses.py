"""A whole internet on loopback: a name server, and mail servers that `mailserver setup` made, each at an address.

    with Internet(folder) as internet:
        org = internet.house("example.org", "alice", "127.0.0.1")
        far = internet.house("far.example", "bob", "127.0.0.2")
        internet.publish(org, far)          # what setup printed
        org.send("alice@example.org", "bob@far.example", "hello")

All MX hosts listen on one port, `relay.port`, since a lab has no port 25.
"""

import copy
import json
import re
import smtplib
import ssl
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from mailserver.setup.listening import ALL
from tests.fakes.zone import zone_value
from tests.integration.server import LIMIT_S, MAILSERVER, SERVICES, Server, free_ports, takes_connections, wait_until

# What its owner wrote before setup came: where this internet is, and that nothing outside of it is asked.
BEFORE = """\
# A house on the loopback internet.
hostname = "mail.{domain}"
domains = ["{domain}"]
postmaster = "{user}@{domain}"

[storage]
maildirs = "../maildirs"
state = "../var"
min_free = "1MB"

[sendmail]
drop = "../drop"

[dns]
servers = ["127.0.0.1:{dns}"]

[relay]
port = {port}
allow_private = true
source_address = "{address}"
retry = ["1s"]

[authentication]
check_loopback = true
dmarc = "enforce"

[doctor]
addresses = ["{address}"]
lists = []
port25_domains = []
"""


class House(Server):
    """A mail server of one domain at one address of the loopback network."""

    def __init__(self, folder, domain, user, address, *, dns, offset):
        self.domain, self.user, self.address = domain, user, address
        self._dns, self._offset = dns, offset
        self.password_of_user = ""
        self.records = []
        super().__init__(folder)
        self.ports = {name: ALL[name] + offset for name in SERVICES}

    @property
    def mail_address(self):
        return f"{self.user}@{self.domain}"

    def configure(self, settings):
        """The owner's few lines, then setup; another address than 127.0.0.1 is the owner's, too."""
        self.config_path.parent.mkdir(parents=True)
        port = ALL["smtp"] + self._offset
        self.config_path.write_text(
            BEFORE.format(domain=self.domain, user=self.user, address=self.address, dns=self._dns, port=port)
        )
        plan = self.setup()
        self.password_of_user, self.records = plan["password"], plan["records"]
        if self.address != "127.0.0.1":
            text = self.config_path.read_text().replace("interface=127.0.0.1", f"interface={self.address}")
            # A port is asked for by its number alone: the pages of one house would be another program to the other.
            self.config_path.write_text(re.sub(r"^(https?) = .*$", r"\1 = []", text, flags=re.MULTILINE))

    def setup(self, *more):
        """Run it again; the plan."""
        options = ["--directory", str(self.folder), "--port-offset", str(self._offset), "--yes", "--json", *more]
        done = subprocess.run(
            [MAILSERVER, "setup", self.domain, *options], capture_output=True, text=True, timeout=2 * LIMIT_S
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def _answers(self):
        return all(_takes(self.address, self.ports[name]) for name in SERVICES)

    def send(self, recipient, subject):
        """As the user's mail program does."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with smtplib.SMTP(self.address, self.ports["submission"], timeout=LIMIT_S) as client:
            client.starttls(context=context)
            client.login(self.mail_address, self.password_of_user)
            content = f"From: {self.mail_address}\r\nTo: {recipient}\r\nSubject: {subject}\r\n\r\nhello\r\n"
            client.sendmail(self.mail_address, [recipient], content.encode())

    def received(self, subject):
        """The message with this subject, when it has come."""
        found = []

        def look():
            found[:] = [one for one in self.messages(self.mail_address) if f"Subject: {subject}".encode() in one]
            return found

        wait_until(look, f"{subject!r} at {self.domain}; log:\n{self.log}")
        return found[0]


class Internet:
    """The name server, and whoever was put into it."""

    def __init__(self, folder):
        self.folder = folder
        self.zone = {}
        self._file = folder / "zone.json"
        self._stack = ExitStack()
        self.dns_port = 0
        self.offset = _free_offset()

    def __enter__(self):
        self._write({})
        (self.dns_port,) = free_ports(1)
        command = [sys.executable, "-m", "tests.fakes.dns_server", "--port", str(self.dns_port), str(self._file)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
        self._stack.callback(process.wait, 10)
        self._stack.callback(process.kill)
        assert process.stdout.readline().startswith("ready")
        return self

    def __exit__(self, *details):
        self._stack.close()

    def house(self, domain, user, address):
        """Set one up; it does not run yet."""
        house = House(self.folder / domain, domain, user, address, dns=self.dns_port, offset=self.offset)
        self._stack.callback(house.kill)
        return house

    def publish(self, *houses):
        """Do as an owner does who types in all that setup printed."""
        for house in houses:
            for record in house.records:
                values = self.zone.setdefault(record["name"], {}).setdefault(record["type"], [])
                values.append(zone_value(record["type"], record["value"]))
        self._write(self.zone)

    def with_changed(self, name, kind, value=None):
        """The zone with one record gone, or another in its place. Back with `restore`."""
        zone = copy.deepcopy(self.zone)
        if value is None:
            del zone[name][kind]
        else:
            zone[name][kind] = [value]
        self._write(zone)

    def restore(self):
        """The zone as it was published."""
        self._write(self.zone)

    def _write(self, zone):
        """Whole, so that the name server never reads half of it; and it looks every 50 ms."""
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(zone))
        new.replace(self._file)
        if self.dns_port:
            import time

            time.sleep(0.12)


def _takes(address, port):
    import socket

    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


def _free_offset():
    import random

    while True:
        offset = random.randrange(10000, 55000)
        if not any(takes_connections(port + offset) for port in ALL.values()):
            return offset
