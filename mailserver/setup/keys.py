"""Every key that setup decides: in the order of the file, with its default and the comment it is written with.

What is not here is the owner's alone. A test holds the defaults together with those of the configuration.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from mailserver.setup.values import Setting


@dataclass(frozen=True, slots=True)
class Key:
    """`name` is `table.key`, or a plain key of the top. `default` None: it must be written."""

    name: str
    comment: str
    default: Setting | None = None
    # Stands in a new file although it has its default: somebody may want to see where to change it.
    is_shown: bool = True

    @property
    def table(self) -> str:
        """Empty for the top."""
        return self.name.rpartition(".")[0]

    @property
    def last(self) -> str:
        """The name within its table."""
        return self.name.rpartition(".")[2]


KEYS = (
    Key("hostname", "This server's own full name. MX records and the reverse name of its address lead to it."),
    Key("domains", "The domains whose mailboxes are kept here."),
    Key("postmaster", "Who gets the mail to postmaster@ and abuse@, and what the server has to say."),
    Key("storage.maildirs", "Mail: one Maildir per account."),
    Key("storage.state", "Queue, history, keys, certificates."),
    Key("accounts.file", "Accounts and aliases: `mailserver account`, `mailserver alias`."),
    Key("listen.smtp", "Mail from other servers.", ("tcp:25",)),
    Key(
        "listen.submission",
        "Mail from your own people, with STARTTLS; then with TLS from the first octet.",
        ("tcp:587",),
    ),
    Key("listen.submissions", "", ("tcp:465",)),
    Key("listen.pop3", "Fetching mail, with STLS; then with TLS from the first octet.", ("tcp:110",)),
    Key("listen.pop3s", "", ("tcp:995",)),
    Key(
        "listen.http", "The web: challenges for certificates; then the MTA-STS policy, settings for mail programs.", ()
    ),
    Key("listen.https", "", ()),
    Key("acme.directory", 'Certificates that the server obtains and renews by itself; "" is off.', ""),
    Key("acme.agree_terms", "Whether you agree to the terms of service of that authority.", False),
    Key("acme.challenge", 'How it sees that the names are yours: "http-01" or "dns-01".', "http-01"),
    Key("acme.webroot", "For http-01: the folder of another web server that has port 80.", "", is_shown=False),
    Key("acme.dns_hook", "For dns-01: the program that puts TXT records into your DNS.", "", is_shown=False),
    Key("mta_sts.mode", 'What others are told: mail to you must come with TLS. "off", "testing" or "enforce".', "off"),
    Key("relay.smarthost", 'Mail for everybody else; "" is sent directly, "smtp.isp.example:587" takes it all.', ""),
    Key("relay.smarthost_tls", '"starttls" or "tls"; its certificate must be right.', "starttls", is_shown=False),
    Key("relay.smarthost_username", "The login there, and the file with its password.", "", is_shown=False),
    Key("relay.smarthost_password_file", "", "", is_shown=False),
    Key("relay.address_family", '"auto" sends by IPv6 and IPv4, "ipv4" by that alone.', "auto"),
    Key("dns.servers", "Name servers; empty are those of the system.", (), is_shown=False),
    Key("sendmail.drop", "Where the sendmail command leaves mail.", "/var/spool/mailserver-drop", is_shown=False),
    Key("doctor.addresses", "The public addresses, where this machine cannot see them.", (), is_shown=False),
)
BY_NAME = {key.name: key for key in KEYS}


def tables() -> Iterator[tuple[str, tuple[Key, ...]]]:
    """The tables of the file in order, the top first, each with its keys."""
    for table in dict.fromkeys(key.table for key in KEYS):
        yield table, tuple(key for key in KEYS if key.table == table)
