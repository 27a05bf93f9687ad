"""A whole internet on loopback: a name server, an authority for certificates (pebble), and mail servers that
`mailserver setup` made, each at an address.

    with Internet(folder) as internet:
        org = internet.house("example.org", "alice", "127.0.0.1")
        far = internet.house("far.example", "bob", "127.0.0.2")
        internet.publish()                  # what setup printed
        org.send("alice@example.org", "bob@far.example", "hello")

All MX hosts listen on one port, `relay.port`, since a lab has no port 25.
"""

import copy
import json
import random
import re
import smtplib
import socket
import ssl
import subprocess
from contextlib import ExitStack

import dns.message
import dns.query

from mailserver.setup.listening import ALL
from tests.fakes.zone import zone_value
from tests.integration.server import LIMIT_S, MAILSERVER, SERVICES, Server, takes_connections, wait_until
from tests.peers.certificates import Authority
from tests.peers.pebble import FakeDns, Pebble

# A name of nobody's, by which the zone that is served can be told.
EDITION = "edition.invalid"
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
mta_sts_port = {sts}
ca_file = "{root}"

[authentication]
check_loopback = true
dmarc = "enforce"

[doctor]
addresses = ["{address}"]
lists = []
port25_domains = []
"""
WITH_AUTHORITY = """
[listen]
http = ["tcp:{http}:interface=127.0.0.1"]

[acme]
directory = "{directory}"
agree_terms = true
ca_file = "{ca_file}"
"""


class House(Server):
    """A mail server of one domain at one address of the loopback network."""

    def __init__(self, folder, domain, user, address, internet):
        self.domain, self.user, self.address = domain, user, address
        self._internet, self._offset = internet, internet.offset
        self.password_of_user = ""
        self.records = []
        super().__init__(folder)
        self.ports = {name: ALL[name] + self._offset for name in SERVICES}

    @property
    def has_pages(self):
        """Only one of those that share a port may have pages, and so a certificate: see `configure`."""
        return self.address == "127.0.0.1"

    @property
    def mail_address(self):
        return f"{self.user}@{self.domain}"

    def configure(self, settings):
        """The owner's few lines, then setup; another address than 127.0.0.1 is the owner's, too."""
        self.config_path.parent.mkdir(parents=True)
        internet = self._internet
        text = BEFORE.format(
            domain=self.domain,
            user=self.user,
            address=self.address,
            dns=internet.dns.port,
            port=ALL["smtp"] + self._offset,
            sts=ALL["https"] + self._offset,
            root=internet.root,
        )
        if self.has_pages:
            text += WITH_AUTHORITY.format(http=ALL["http"] + self._offset, **internet.pebble.settings)
        self.config_path.write_text(text)
        plan = self.setup()
        self.password_of_user, self.records = plan["password"], plan["records"]
        if not self.has_pages:
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
    """The name server, the authority, and whoever was put into it."""

    def __init__(self, folder):
        self.folder = folder
        self.zone = {}
        self._edition = 0
        self.houses = []
        self.offset = _free_offset()
        self.dns = FakeDns(folder / "dns", {})
        certificate = Authority(folder).issue("127.0.0.1")
        http_port = ALL["http"] + self.offset
        self.pebble = Pebble(folder / "pebble", certificate, http_port=http_port, dns=self.dns)
        self.root = folder / "root.pem"
        self._stack = ExitStack()

    def __enter__(self):
        for one in (self.dns, self.pebble):
            self._stack.callback(one.stop)
            one.start()
        self.root.write_text(self.pebble.root())
        return self

    def __exit__(self, *details):
        self._stack.close()

    def house(self, domain, user, address):
        """Set one up; it does not run yet."""
        house = House(self.folder / domain, domain, user, address, self)
        self._stack.callback(house.kill)
        self.houses.append(house)
        return house

    def publish(self):
        """Do as owners do who type in all that setup printed."""
        self.zone = {}
        for record in [record for house in self.houses for record in house.records]:
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
        """Whole, so that the name server never reads half of it; in force when this returns."""
        self._edition += 1
        new = self.dns.zone_file.with_suffix(".new")
        new.write_text(json.dumps(zone | {EDITION: {"TXT": [str(self._edition)]}}))
        new.replace(self.dns.zone_file)
        wait_until(lambda: self._served() == str(self._edition), "the new zone")

    def _served(self):
        """Which edition the name server answers from."""
        query = dns.message.make_query(EDITION, "TXT")
        answer = dns.query.udp(query, "127.0.0.1", port=self.dns.port, timeout=LIMIT_S)
        return "".join(rdata.to_text().strip('"') for rrset in answer.answer for rdata in rrset)


def _takes(address, port):
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


def _free_offset():
    while True:
        offset = random.randrange(10000, 55000)
        if not any(takes_connections(port + offset) for port in ALL.values()):
            return offset
