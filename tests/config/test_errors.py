# ruff: noqa: E501 - a text is one line, however long
"""What each mistake in the configuration is told with, word by word."""

import pytest

from mailserver.config import ConfigError, load_config
from mailserver.net.listener_text import check_listener

TOP = 'hostname = "mail.example.org"\ndomains = ["example.org"]\npostmaster = "alice@example.org"\n'

# Lines below the three required keys, and the errors. PARENT is the folder above that of the file.
BELOW_THE_TOP = [
    (
        "hostname = 'x.example'",
        [
            "line 4, column 23: not valid TOML: this key is set a second time; each may stand once: hostname = 'x.example'"
        ],
    ),
    (
        '[smtp]\nmax_recipients = "100"',
        ['smtp.max_recipients: "100": must be a whole number from 1 to 10000000, without quotes'],
    ),
    (
        '[hold]\nsender = "@example.net"',
        [
            'hold: { sender = "@example.net" }: must be a list of tables: begin each with a line [[hold]], in two pairs of brackets'
        ],
    ),
    (
        '[[hold]]\nsender = "@example.net"\n[[hold]]\nsender = "example.net"\nrecipent = "bob@example.net"\nreason = 5',
        [
            'hold[1].sender: "example.net": must be an address such as "alice@example.org", or a whole domain such as "@example.org" (did you mean "@example.net"?)',
            'hold[1].recipent: "bob@example.net": there is no such key (did you mean recipient?)',
            "hold[1].reason: 5: must be text in quotes",
        ],
    ),
    (
        '[[hold]]\nreason = "all of it"',
        ['hold[0]: { reason = "all of it" }: must name at least one of sender, recipient and login'],
    ),
    (
        '[[hold]]\nlogin = "bob"',
        [
            'hold[0].login: "bob": must be an address such as "alice@example.org", or a whole domain such as "@example.org"'
        ],
    ),
    (
        '[relay]\nsmarthost = "smtp.isp.example:587"\nsmarthost_domains = ["example.org", "example..net"]\nsmarthost_after = -1',
        [
            'relay.smarthost_domains[1]: "example..net": must be a domain such as "example.org"',
            "relay.smarthost_after: -1: must be a whole number from 0 to 1000",
        ],
    ),
    (
        '[authentication]\ndmarc = "reject"\n'
        'dmarc_overrides = { "bank.example" = "chek", "b..example" = "off", shop.example = "check" }',
        [
            'authentication.dmarc: "reject": must be one of "off", "check", "enforce"',
            'authentication.dmarc_overrides."bank.example": "chek": must be one of "off", "check", "enforce" '
            '(did you mean "check"?)',
            'authentication.dmarc_overrides."b..example": "off": must be a domain such as "example.org"',
            'authentication.dmarc_overrides."shop": { example = "check" }: the domain must stand in quotes, such as '
            '"shop.example" = "check"',
        ],
    ),
    (
        '[relay]\nsmarthost = "smtp.isp.example:587"\nsmarthost_domains = ["example.net", "example.org"]',
        [
            'relay.smarthost_domains[1]: "example.org": must be a domain of somebody else; the mail of one in domains is kept here'
        ],
    ),
    (
        '[relay]\nsuppress_after = true\nsuppress_for = "0s"\ntranscripts = "yes"',
        [
            "relay.suppress_after: true: must be a whole number from 0 to 100",
            'relay.suppress_for: "0s": must be more than 0',
            'relay.transcripts: "yes": must be true or false, without quotes',
        ],
    ),
    (
        "[smtp]\nmax_recipients = 0",
        ["smtp.max_recipients: 0: must be a whole number from 1 to 10000000"],
    ),
    (
        "[smtp]\nmax_recipients = true",
        ["smtp.max_recipients: true: must be a whole number from 1 to 10000000"],
    ),
    (
        "[smtp]\nmax_recipients = 100.0",
        ["smtp.max_recipients: 100.0: must be a whole number from 1 to 10000000"],
    ),
    (
        "[smtp]\nmax_recipient = 100",
        ["smtp.max_recipient: 100: there is no such key (did you mean smtp.max_recipients?)"],
    ),
    (
        "[smpt]\nauth = true",
        ["smpt: there is no such table (did you mean [smtp]?)"],
    ),
    (
        '[smtp]\nauth = "false"',
        ['smtp.auth: "false": must be true or false, without quotes (did you mean false?)'],
    ),
    (
        "[smtp]\nauth = 0",
        ["smtp.auth: 0: must be true or false, without quotes"],
    ),
    (
        "[smtp]\ncommand_timeout = 300",
        ['smtp.command_timeout: 300: must be a time such as "500ms", "15s", "5m", "4h" or "5d" (did you mean "300s"?)'],
    ),
    (
        '[smtp]\ncommand_timeout = "5 minutes"',
        ['smtp.command_timeout: "5 minutes": must be a time such as "500ms", "15s", "5m", "4h" or "5d"'],
    ),
    (
        '[smtp]\ncommand_timeout = "0s"',
        ['smtp.command_timeout: "0s": must be more than 0'],
    ),
    (
        '[smtp]\nmax_message_size = "50 megs"',
        ['smtp.max_message_size: "50 megs": must be a size such as "200MB", "64KiB" or a number of octets'],
    ),
    (
        "[smtp]\nmax_message_size = 0",
        ["smtp.max_message_size: 0: must be at least 1 octet"],
    ),
    (
        '[smtp]\nmax_message_size="99999999GB"',
        ['smtp.max_message_size: "99999999GB": must be at most 1000000GB'],
    ),
    (
        '[smtp]\ntrusted_networks = "192.0.2.0/24"',
        [
            'smtp.trusted_networks: "192.0.2.0/24": must be a list of networks, such as ["192.0.2.0/24"] (did you mean ["192.0.2.0/24"]?)'
        ],
    ),
    (
        '[smtp]\ntrusted_networks = ["192.0.2.1/24", "0.0.0.0/0", "office", 5]',
        [
            'smtp.trusted_networks[0]: "192.0.2.1/24": must be a network such as "192.0.2.0/24" or "2001:db8::/32", or one address (did you mean "192.0.2.0/24"?)',
            'smtp.trusted_networks[1]: "0.0.0.0/0": must not be the whole internet',
            'smtp.trusted_networks[2]: "office": must be a network such as "192.0.2.0/24" or "2001:db8::/32", or one address',
            "smtp.trusted_networks[3]: 5: must be text in quotes",
        ],
    ),
    (
        '[smtp]\nhostname = "mail.example.org"',
        [
            'smtp.hostname: "mail.example.org": there is no such key here; it belongs at the top of the file, before the first [table]'
        ],
    ),
    (
        "[submission]\nmax_errors = 3",
        ["submission.max_errors: 3: there is no such key here; it belongs in [smtp]"],
    ),
    (
        '[submission]\nauth_without_tls = "no"',
        ['submission.auth_without_tls: "no": must be one of "never", "loopback", "always"'],
    ),
    (
        '[submission]\nauth_without_tls = "allways"',
        [
            'submission.auth_without_tls: "allways": must be one of "never", "loopback", "always" (did you mean "always"?)'
        ],
    ),
    (
        "[submission]\nauth_without_tls = true",
        ['submission.auth_without_tls: true: must be one of "never", "loopback", "always"'],
    ),
    (
        '[submission]\nbare_newlines = "Repair"',
        ['submission.bare_newlines: "Repair": must be one of "refuse", "repair" (did you mean "repair"?)'],
    ),
    (
        '[listen]\nsmtp = "tcp:25"',
        ['listen.smtp: "tcp:25": must be a list of listeners, such as ["tcp:25"] (did you mean ["tcp:25"]?)'],
    ),
    (
        "[listen]\nsmtp = [25]",
        ["listen.smtp[0]: 25: must be text in quotes"],
    ),
    (
        '[listen]\nsmtp = ["25"]',
        [
            'listen.smtp[0]: "25": must be a listener such as "tcp:25", "tcp:2525:interface=127.0.0.1" or "unix:/run/mailserver/smtp.sock" (did you mean "tcp:25"?)'
        ],
    ),
    (
        '[listen]\nsmtp = ["tcp:port"]',
        ['listen.smtp[0]: "tcp:port": must have a port from 0 to 65535, such as "tcp:25"'],
    ),
    (
        '[listen]\nsmtp = ["tls:25"]',
        [
            'listen.smtp[0]: "tls:25": must be written without TLS, such as "tcp:465": the server itself adds TLS to submissions, pop3s and https'
        ],
    ),
    (
        '[listen]\nlmtp = ["tcp:24"]',
        ['listen.lmtp: ["tcp:24"]: not available yet; leave it at [] or leave it out'],
    ),
    (
        '[listen]\nsmtp = ["tcp:25", "tcp6:25"]',
        [
            'listen.smtp[1]: "tcp6:25": must be another port: listen.smtp[0] ("tcp:25") takes it too; tcp: without interface= listens on IPv4 and IPv6 at once, and tcp6: takes IPv4 with it'
        ],
    ),
    (
        '[listen]\nsmtp = ["tcp:2525"]\nsubmission = ["tcp:2525"]',
        ['listen.submission[0]: "tcp:2525": must be another port: listen.smtp[0] ("tcp:2525") has this one'],
    ),
    (
        '[listen]\nsmtp = ["tcp:25"]\npop3=["tcp:25:interface=127.0.0.1"]',
        [
            'listen.pop3[0]: "tcp:25:interface=127.0.0.1": must be another port: listen.smtp[0] ("tcp:25") takes it too; tcp: without interface= listens on IPv4 and IPv6 at once, and tcp6: takes IPv4 with it'
        ],
    ),
    (
        "[listen]\nsmtp = ['unix:/run/a']\npop3=['unix:/run/a']",
        ['listen.pop3[0]: "unix:/run/a": must be another path: listen.smtp[0] ("unix:/run/a") has this one'],
    ),
    (
        "[listen]\nimap = []",
        ["listen.imap: []: there is no such key"],
    ),
    (
        'listen = ["tcp:25"]',
        ['listen: ["tcp:25"]: must be a table: a line [listen] with its keys below'],
    ),
    (
        "[practice]\naccounts = [\"alice@example.org\"]\n[listen]\nsmtp=['tcp:2525']\nsubmission=[]\nsubmissions=[]\npop3=['tcp:2110:interface=192.0.2.1', 'tcp:2111:interface=127.0.0.1', 'systemd:domain=INET:index=0']\npop3s=[]",
        [
            'listen.smtp[0]: "tcp:2525": must listen on loopback only, such as "tcp:2525:interface=127.0.0.1", as long as practice.accounts is set',
            'listen.pop3[0]: "tcp:2110:interface=192.0.2.1": must listen on loopback only, such as "tcp:2110:interface=127.0.0.1", as long as practice.accounts is set',
            'listen.pop3[2]: "systemd:domain=INET:index=0": must listen on loopback only, such as "tcp:2525:interface=127.0.0.1", as long as practice.accounts is set',
        ],
    ),
    (
        '[practice]\naccounts = ["alice@example.com", "alice"]\n[listen]\nsmtp=[]\nsubmission=[]\nsubmissions=[]\npop3=[]\npop3s=[]',
        [
            'practice.accounts[1]: "alice": must be an address such as "alice@example.org": an address has the form local-part@domain'
        ],
    ),
    (
        '[storage]\nstate = ""',
        ['storage.state: "": must be a path'],
    ),
    (
        '[storage]\nstate = "~/var"',
        ['storage.state: "~/var": must be a path; ~ has no meaning here, write the folder\'s whole name'],
    ),
    (
        '[storage]\nstate = "../maildirs/state"',
        ['storage.state: "PARENT/maildirs/state": must be outside storage.maildirs (PARENT/maildirs)'],
    ),
    (
        '[storage]\nmin_free = "-1"',
        ['storage.min_free: "-1": must be a size such as "200MB", "64KiB" or a number of octets'],
    ),
    (
        "[storage]\nstate='/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'",
        [
            'storage.state: "/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...": must be a shorter path: its control socket would have 114 octets, and the system allows 107'
        ],
    ),
    (
        "[accounts]\nfile='../var'",
        ['accounts.file: "PARENT/var": must be a file, and this is a folder of [storage]'],
    ),
    (
        "[accounts]\nquota='1GB'",
        ['accounts.quota: "1GB": there is no such key'],
    ),
    (
        '[tls]\ncertificate = "cert.pem"',
        ['tls.private_key: "": must name the key that belongs to tls.certificate'],
    ),
    (
        '[tls]\nprivate_key = "key.pem"',
        ['tls.certificate: "": must name the certificate that belongs to tls.private_key'],
    ),
    (
        '[relay]\nsmarthost = "smtp.isp.example"',
        [
            'relay.smarthost: "smtp.isp.example": must be a host and a port, such as "smtp.example.org:587", "192.0.2.7:25" or "[2001:db8::7]:25" (did you mean "smtp.isp.example:587"?)'
        ],
    ),
    (
        '[relay]\nsmarthost = "smtp.isp.example:587:1"',
        [
            'relay.smarthost: "smtp.isp.example:587:1": must be a host and a port, such as "smtp.example.org:587", "192.0.2.7:25" or "[2001:db8::7]:25"'
        ],
    ),
    (
        '[relay]\nsmarthost = "smtp.isp.example:smtp"',
        [
            'relay.smarthost: "smtp.isp.example:smtp": must be a host and a port, such as "smtp.example.org:587", "192.0.2.7:25" or "[2001:db8::7]:25"; a port is a number from 1 to 65535'
        ],
    ),
    (
        '[relay]\nsmarthost = "2001:db8::7"',
        [
            'relay.smarthost: "2001:db8::7": must be a host and a port, such as "smtp.example.org:587", "192.0.2.7:25" or "[2001:db8::7]:25" (did you mean "[2001:db8::7]:587"?)'
        ],
    ),
    (
        '[relay]\nsmarthost = "me@smtp.isp.example:587"',
        [
            'relay.smarthost: "me@smtp.isp.example:587": must be a host and a port, such as "smtp.example.org:587", "192.0.2.7:25" or "[2001:db8::7]:25"'
        ],
    ),
    (
        '[relay]\nsmarthost = "smtp.isp.example:587"\nsmarthost_username="me"',
        ['relay.smarthost_password_file: "": must name a file with the password of relay.smarthost_username'],
    ),
    (
        "[relay]\nsmarthost = \"smtp.isp.example:587\"\nsmarthost_password_file='x'",
        ['relay.smarthost_username: "": must be set when relay.smarthost_password_file is'],
    ),
    (
        '[relay]\nsmarthost = "smtp.isp.example:25"\nsmarthost_username="me"\nsmarthost_password_file=\'x\'\nsmarthost_tls="none"',
        [
            'relay.smarthost_tls: "none": must be "starttls" or "tls": a password is sent without TLS only to a loopback host, which smtp.isp.example:25 is not'
        ],
    ),
    (
        '[relay]\nroutes = { example.net = "192.0.2.7:25" }',
        [
            'relay.routes."example": { net = "192.0.2.7:25" }: the domain must stand in quotes, such as "example.net" = "192.0.2.7:25"'
        ],
    ),
    (
        '[relay]\nroutes = { "example.net" = "192.0.2.7", "example.org" = "x.example:25" }',
        [
            'relay.routes."example.net": "192.0.2.7": must be a host and a port, such as "smtp.example.org:587", "192.0.2.7:25" or "[2001:db8::7]:25" (did you mean "192.0.2.7:25"?)'
        ],
    ),
    (
        '[relay]\nroutes = { "example.org" = "x.example:25" }',
        [
            'relay.routes."example.org": "x.example:25": must be a domain of somebody else; the mail of one in domains is kept here'
        ],
    ),
    (
        "[relay]\nroutes = []",
        ['relay.routes: []: must be a table such as { "example.net" = "192.0.2.7:25" }'],
    ),
    (
        "[relay]\nretry = []",
        ['relay.retry: []: must be a list of times, such as ["5m", "1h"], and not empty'],
    ),
    (
        '[relay]\nretry = "5m"',
        ['relay.retry: "5m": must be a list of times, such as ["5m", "1h"] (did you mean ["5m"]?)'],
    ),
    (
        '[relay]\nretry = ["5m", 10]',
        ['relay.retry[1]: 10: must be a time such as "500ms", "15s", "5m", "4h" or "5d" (did you mean "10s"?)'],
    ),
    (
        "[relay]\nport = 70000",
        ["relay.port: 70000: must be a whole number from 1 to 65535"],
    ),
    (
        '[relay]\nsource_address = "2001:db8::1"',
        ['relay.source_address: "2001:db8::1": must be an IPv4 address of this machine, such as "192.0.2.1", or empty'],
    ),
    (
        '[relay]\nhelo="not a name"',
        ['relay.helo: "not a name": must be a host name such as "mail.example.org"'],
    ),
    (
        '[relay]\naddress_family="ipv5"',
        ['relay.address_family: "ipv5": must be one of "auto", "ipv4", "ipv6" (did you mean "ipv6"?)'],
    ),
    (
        "[relay]\nexpire_after='20y'",
        ['relay.expire_after: "20y": must be a time such as "500ms", "15s", "5m", "4h" or "5d"'],
    ),
    (
        "[relay]\nexpire_after='20000d'",
        ['relay.expire_after: "20000d": must be at most ten years'],
    ),
    (
        '[dns]\nservers = ["ns.example.org"]',
        [
            'dns.servers[0]: "ns.example.org": must be an address, with a port if it is not 53: "192.0.2.53", "127.0.0.1:5353", "[::1]:5353"'
        ],
    ),
    (
        '[dns]\nservers = ["ns.example.org:53"]',
        [
            'dns.servers[0]: "ns.example.org:53": must be an address, with a port if it is not 53: "192.0.2.53", "127.0.0.1:5353", "[::1]:5353"; a name cannot be looked up without a server'
        ],
    ),
    (
        '[storage]\nmaildirs = "/srv/mail"\n[sendmail]\ndrop = "/srv/mail/drop"',
        ['sendmail.drop: "/srv/mail/drop": must be a folder of its own'],
    ),
    (
        "[sendmail]\ndrop = 5",
        ["sendmail.drop: 5: must be text in quotes"],
    ),
    (
        "[pop3]\nidle_timeout = 1979-05-27",
        ['pop3.idle_timeout: 1979-05-27: must be a time such as "500ms", "15s", "5m", "4h" or "5d"'],
    ),
    (
        "[pages]\nport=80",
        ["pages: there is no such table"],
    ),
    (
        '[relay]\nsmarthost_password = "geheim"',
        ["relay.smarthost_password: (not shown): there is no such key (did you mean relay.smarthost_password_file?)"],
    ),
    (
        '[smtp]\nmax_errors = "x"\nmax_connection = 5\n[listen]\nsmtp = ["tcp:99999"]\npop3 = ["tcp:110", "tcp:110"]\n[tls]\ncertificate = "c.pem"',
        [
            'smtp.max_errors: "x": must be a whole number from 1 to 10000000',
            "smtp.max_connection: 5: there is no such key (did you mean smtp.max_connections?)",
            'listen.smtp[0]: "tcp:99999": must have a port from 0 to 65535, such as "tcp:25"',
            'listen.pop3[1]: "tcp:110": must be another port: listen.pop3[0] ("tcp:110") has this one',
            'tls.private_key: "": must name the key that belongs to tls.certificate',
        ],
    ),
    (
        '[tls]\ncertificate = 7\nprivate_key = "key.pem"',
        ["tls.certificate: 7: must be text in quotes"],
    ),
    (
        '[auth]\nexempt_networks = ["2001:db8::1/32", "::/0"]\nmax_failures = -1',
        [
            "auth.max_failures: -1: must be a whole number from 1 to 10000000",
            'auth.exempt_networks[0]: "2001:db8::1/32": must be a network such as "192.0.2.0/24" or "2001:db8::/32", or one address (did you mean "2001:db8::/32"?)',
            'auth.exempt_networks[1]: "::/0": must not be the whole internet',
        ],
    ),
    (
        "[relay]\ndelay_notice_after = 'nie'",
        [
            'relay.delay_notice_after: "nie": must be a time such as "500ms", "15s", "5m", "4h" or "5d", or "never"',
        ],
    ),
    (
        '[relay.schedule."example.net"]\nretry = ["5x", "1h"]\nexpire_after = "never"\nexpire = "1d"\n'
        '[relay.schedule.far.example]\nretry = ["1h"]\n'
        '[relay.schedule."no domain"]\n'
        '[relay.schedule."Twice.example"]\n[relay.schedule."twice.example"]\n',
        [
            'relay.schedule."example.net".retry[0]: "5x": must be a time such as "500ms", "15s", "5m", "4h" or "5d"',
            'relay.schedule."example.net".expire_after: "never": must be a time such as "500ms", "15s", "5m", "4h" or "5d"',
            'relay.schedule."example.net".expire: "1d": there is no such key (did you mean expire_after?)',
            'relay.schedule."far": { example = { retry = ["1h"] } }: the domain must stand in quotes, such as [relay.schedule."example.net"]',
            'relay.schedule."no domain": {  }: must be a domain such as "example.org"',
            'relay.schedule."twice.example": {  }: this domain stands here twice',
        ],
    ),
    (
        '[relay.schedule]\nretry = ["1h"]',
        ['relay.schedule."retry": ["1h"]: must be a table: a line [relay.schedule."example.net"] with its keys below'],
    ),
    (
        "[relay]\nschedule = 5",
        ['relay.schedule: 5: must be tables: begin each with a line [relay.schedule."example.net"]'],
    ),
    (
        "[relay]\nmax_per_destination = 20000000\ndelay_notice_after = 0",
        [
            'relay.delay_notice_after: 0: must be a time such as "500ms", "15s", "5m", "4h" or "5d", or "never" (did you mean "never"?)',
            "relay.max_per_destination: 20000000: must be a whole number from 1 to 10000000",
        ],
    ),
    (
        '[listen]\nsmtp = ["tcp6:25:interface=::1"]',
        [
            "listen.smtp[0]: \"tcp6:25:interface=::1\": has a part that means nothing: '' (write each colon of an IPv6 address as \\:, so in TOML as '\\:')"
        ],
    ),
    (
        "[smtp]\nmax-errors = 3",
        ["smtp.max-errors: 3: there is no such key (did you mean smtp.max_errors?)"],
    ),
]

# Whole files.
WHOLE = [
    (
        "",
        [
            'hostname: missing: set this server\'s own full name, such as hostname = "mail.example.org"',
            'domains: missing: set the domains whose mail is kept here, such as domains = ["example.org"]',
            'postmaster: missing: set who looks after the mail, such as postmaster = "alice@example.org"',
        ],
    ),
    (
        'hostname = ""\ndomains = []\npostmaster = "alice"',
        [
            'hostname: "": must be a host name such as "mail.example.org"',
            'domains: []: must be a list of domains, such as ["example.org"], and not empty',
            'postmaster: "alice": must be an address such as "alice@example.org": an address has the form local-part@domain',
        ],
    ),
    (
        'hostname = "mail example"\ndomains = "example.org"\npostmaster = 7',
        [
            'hostname: "mail example": must be a host name such as "mail.example.org"',
            'domains: "example.org": must be a list of domains, such as ["example.org"] (did you mean ["example.org"]?)',
            "postmaster: 7: must be text in quotes",
        ],
    ),
    (
        'hostname="192.0.2.1"\ndomains=["example.org.", "alice@example.org", "Example.org","EXAMPLE.org"]\npostmaster="postmaster"',
        [
            'hostname: "192.0.2.1": must be a host name such as "mail.example.org", not an address',
            'domains[0]: "example.org.": must be a domain such as "example.org" (did you mean "example.org"?)',
            'domains[1]: "alice@example.org": must be a domain (did you mean "example.org"?)',
            'domains[3]: "EXAMPLE.org": stands here twice',
            'postmaster: "postmaster": must be an address with its domain, such as "alice@example.org"',
        ],
    ),
    (
        "hostname = mail.example.org",
        [
            "line 1, column 12: not valid TOML: the value is missing or not understood; text needs quotes: hostname = mail.example.org"
        ],
    ),
    (
        'hostname = "mail.example.org',
        ['line 1, column 29: not valid TOML: a text is not closed with its second quote: hostname = "mail.example.org'],
    ),
    (
        "hostname",
        ["line 1, column 9: not valid TOML: a key is followed by = and a value: hostname"],
    ),
    (
        "hostname =",
        ["line 1, column 11: not valid TOML: the value is missing or not understood; text needs quotes: hostname ="],
    ),
    (
        "= 3",
        ["line 1, column 1: not valid TOML: a line is a key with its value, a [table], or a # comment: = 3"],
    ),
    (
        "[smtp\nauth = true",
        ["line 1, column 6: not valid TOML: a [table] is not closed with ]: [smtp"],
    ),
    (
        "[smtp]\n[smtp]",
        ["line 2, column 6: not valid TOML: the table [smtp] begins a second time; put its keys into one: [smtp]"],
    ),
    (
        "[smtp]\nauth=true\nauth=false",
        ["line 3, column 11: not valid TOML: this key is set a second time; each may stand once: auth=false"],
    ),
    (
        'domains = ["a" "b"]',
        [
            'line 1, column 16: not valid TOML: a list is not closed with ], or a comma between its values is missing: domains = ["a" "b"]'
        ],
    ),
    (
        'domains = ["a",',
        ["at the end of the file: not valid TOML: the last value, list or table is not finished"],
    ),
    (
        '[relay]\nroutes = { "a" = "b"',
        ['line 2, column 21: not valid TOML: a { table } is not closed on its line: routes = { "a" = "b"'],
    ),
    (
        "hostname = 'a' 'b'",
        [
            "line 1, column 16: not valid TOML: there is more on this line than one value; text needs quotes: hostname = 'a' 'b'"
        ],
    ),
    (
        'x = "a\\d"',
        [
            "line 1, column 9: not valid TOML: after \\ only certain letters may follow; use 'single quotes' for a text with \\: x = \"a\\d\""
        ],
    ),
    (
        "hostname: 'x'",
        ["line 1, column 9: not valid TOML: a key is followed by = and a value: hostname: 'x'"],
    ),
    (
        "smtp.auth = true\n[smtp]\nauth = false",
        ["line 2, column 6: not valid TOML: the table [smtp] begins a second time; put its keys into one: [smtp]"],
    ),
    (
        'domains = ["a\x01"]',
        ['line 1, column 14: not valid TOML: the character \\x01 may not stand here: domains = ["a?"]'],
    ),
    (
        "a = 01",
        ["line 1, column 6: not valid TOML: there is more on this line than one value; text needs quotes: a = 01"],
    ),
    (
        'hostname="a\nb"',
        ['line 1, column 12: not valid TOML: a text is not closed with its second quote: hostname="a'],
    ),
    (
        "x = " + "[" * 3000,
        ["not valid TOML: brackets are nested too deeply"],
    ),
    (
        "# only comments",
        [
            'hostname: missing: set this server\'s own full name, such as hostname = "mail.example.org"',
            'domains: missing: set the domains whose mail is kept here, such as domains = ["example.org"]',
            'postmaster: missing: set who looks after the mail, such as postmaster = "alice@example.org"',
        ],
    ),
    (
        "[[smtp]]\nauth=true",
        [
            'hostname: missing: set this server\'s own full name, such as hostname = "mail.example.org"',
            'domains: missing: set the domains whose mail is kept here, such as domains = ["example.org"]',
            'postmaster: missing: set who looks after the mail, such as postmaster = "alice@example.org"',
            "smtp: [{ auth = true }]: must be a table: a line [smtp] with its keys below",
        ],
    ),
    (
        "<?xml?>",
        ["line 1, column 1: not valid TOML: a line is a key with its value, a [table], or a # comment: <?xml?>"],
    ),
    (
        '{"hostname": 1}',
        [
            'line 1, column 1: not valid TOML: a line is a key with its value, a [table], or a # comment: {"hostname": 1}'
        ],
    ),
    (
        "x = tru",
        ["line 1, column 5: not valid TOML: the value is missing or not understood; text needs quotes: x = tru"],
    ),
    (
        "hostname = “mail.example.org”",
        [
            'line 1, column 12: not valid TOML: the value is missing or not understood; text needs quotes, and those are straight: ": hostname = “mail.example.org”'
        ],
    ),
]


def errors(folder, text):
    """The errors in a file `mailserver.toml` in `folder`, without its name and folder."""
    path = folder / "mailserver.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as raised:
        load_config(path, check_listener)
    assert all(error.startswith(f"{path}: ") for error in raised.value.errors)
    return [error.removeprefix(f"{path}: ").replace(f"{folder.parent}/", "PARENT/") for error in raised.value.errors]


@pytest.mark.parametrize(("lines", "expected"), BELOW_THE_TOP, ids=[ascii(row[0])[1:50] for row in BELOW_THE_TOP])
def test_mistake_below_the_top_is_told(tmp_path, lines, expected):
    assert errors(tmp_path, f"{TOP}{lines}\n") == expected


@pytest.mark.parametrize(("text", "expected"), WHOLE, ids=[ascii(row[0])[1:50] for row in WHOLE])
def test_mistake_in_a_whole_file_is_told(tmp_path, text, expected):
    assert errors(tmp_path, f"{text}\n") == expected
