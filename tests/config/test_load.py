"""A good file becomes a Config; a bad file says everything that is wrong with it, in words for its owner."""

import os
import tomllib
from ipaddress import ip_network
from pathlib import Path

import attrs
import pytest

from mailserver.config import (
    AddressFamily,
    AuthWithoutTls,
    BareNewlines,
    Config,
    ConfigError,
    HostPort,
    SmarthostTls,
    find_config,
    load_config,
)
from mailserver.config.hold import Hold
from mailserver.config.schema import DERIVED, Times
from mailserver.config.structure import key_names
from mailserver.mail.address import Mailbox
from mailserver.net.listener_text import check_listener

SAMPLE = Path(__file__).parents[2] / "etc" / "mailserver.toml"

TOP = 'hostname = "mail.example.org"\ndomains = ["example.org"]\npostmaster = "alice@example.org"\n'


def write(folder: Path, text: str, *, name: str = "mailserver.toml") -> Path:
    path = folder / name
    path.write_bytes(text.encode("utf-8"))
    return path


def errors(folder: Path, text: str) -> list[str]:
    """The errors in a file, with its folder taken off."""
    with pytest.raises(ConfigError) as raised:
        load_config(write(folder, text), check_listener)
    assert str(raised.value) == "\n".join(raised.value.errors)
    return [error.replace(f"{folder}/", "") for error in raised.value.errors]


def warnings(folder: Path, text: str) -> list[str]:
    return [warning.replace(f"{folder}/", "") for warning in load_config(write(folder, text), check_listener).warnings]


# --- what is right ----------------------------------------------------------------------------------------------------


def test_three_keys_are_enough_and_the_rest_has_the_documented_defaults(tmp_path):
    config = load_config(write(tmp_path, TOP), check_listener)
    assert config.hostname == "mail.example.org"
    assert config.domains == ("example.org",)
    assert config.postmaster == Mailbox("alice", "example.org")
    assert config.practice.accounts == ()
    assert config.storage.maildirs == tmp_path.parent / "maildirs"
    assert config.storage.state == tmp_path.parent / "var"
    assert config.storage.min_free == 200_000_000
    assert config.accounts.file == tmp_path / "accounts.toml"
    assert config.listen.smtp == ("tcp:25",)
    assert config.listen.submission == ("tcp:587",)
    assert config.listen.submissions == ("tcp:465",)
    assert config.listen.pop3 == ("tcp:110",)
    assert config.listen.pop3s == ("tcp:995",)
    assert config.tls.certificate is None
    assert config.tls.private_key is None
    assert config.smtp.max_message_size == 50_000_000
    assert config.smtp.max_recipients == 100
    assert config.smtp.command_timeout == 300.0
    assert config.smtp.data_timeout == 1800.0
    assert config.smtp.min_rate == 100
    assert config.smtp.max_errors == 20
    assert config.smtp.max_connections == 2000
    assert config.smtp.max_connections_per_client == 20
    assert config.smtp.auth is False
    assert config.smtp.trusted_networks == ()
    assert config.submission.auth_without_tls is AuthWithoutTls.NEVER
    assert config.submission.bare_newlines is BareNewlines.REFUSE
    assert config.auth.max_failures == 5
    assert config.auth.slow_after == 3
    assert config.auth.exempt_networks == ()
    assert config.relay.smarthost is None
    assert config.relay.smarthost_tls is SmarthostTls.STARTTLS
    assert config.relay.smarthost_ca_file is None
    assert config.relay.source_address is None
    assert config.relay.source_address6 is None
    assert config.relay.helo == "mail.example.org"
    assert config.relay.routes == {}
    assert config.relay.port == 25
    assert config.relay.address_family is AddressFamily.AUTO
    assert config.relay.allow_private is False
    assert config.relay.retry == (300.0, 600.0, 1200.0, 2400.0, 3600.0, 7200.0, 14400.0)
    assert config.relay.expire_after == 432000.0
    assert config.relay.delay_notice_after == 14400.0
    assert config.relay.max_per_destination == 10
    assert (config.relay.connect_timeout, config.relay.command_timeout) == (30.0, 300.0)
    assert config.dns.servers == ()
    assert config.pop3.auth_without_tls is AuthWithoutTls.LOOPBACK
    assert config.pop3.idle_timeout == 600.0
    assert config.pop3.max_connections == 500
    assert config.pop3.max_connections_per_client == 20
    assert config.path == tmp_path / "mailserver.toml"
    assert config.warnings == ()


def test_every_value_is_read_in_its_unit(tmp_path):
    (tmp_path / "x").mkdir()
    config = load_config(
        write(
            tmp_path,
            """
hostname = "Mail.Example.ORG"
domains = ["Example.org", "bücher.example"]
postmaster = "Alice@Example.org"
[storage]
maildirs = "/srv/mail/"
state = "x/../state"
min_free = 0
[listen]
smtp = ["tcp:2525:interface=127.0.0.1", 'tcp6:2525:interface=\\:\\:1', "unix:/run/x.sock", "haproxy:tcp:2526"]
submission = []
[tls]
certificate = "cert.pem"
private_key = "/etc/ssl/key.pem"
[smtp]
max_message_size = "64KiB"
command_timeout = "500ms"
data_timeout = "1.5h"
min_rate = "1 KB"
trusted_networks = ["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"]
auth = true
[submission]
auth_without_tls = "always"
bare_newlines = "repair"
[relay]
smarthost = "SMTP.isp.example:587"
smarthost_tls = "tls"
smarthost_username = "me"
smarthost_password_file = "secret"
source_address = "192.0.2.1"
source_address6 = "2001:DB8::1"
helo = "out.example.org"
routes = { "Example.net" = "192.0.2.7:25", "six.example" = "[2001:db8::7]:2525", "c.example" = "mx.c.example:26" }
retry = ["1s", "2d"]
delay_notice_after = "0s"
[dns]
servers = ["127.0.0.1:5353", "192.0.2.53", "::1", "[2001:db8::53]:54"]
""",
        ),
        check_listener,
    )
    assert config.hostname == "mail.example.org"
    assert config.domains == ("example.org", "xn--bcher-kva.example")
    assert config.postmaster == Mailbox("Alice", "example.org")
    assert config.storage.maildirs == Path("/srv/mail")
    assert config.storage.state == tmp_path / "state"
    assert config.storage.min_free == 0
    assert len(config.listen.smtp) == 4
    assert config.listen.submission == ()
    assert config.tls.certificate == tmp_path / "cert.pem"
    assert config.tls.private_key == Path("/etc/ssl/key.pem")
    assert config.smtp.max_message_size == 65536
    assert config.smtp.command_timeout == 0.5
    assert config.smtp.data_timeout == 5400.0
    assert config.smtp.min_rate == 1000
    assert config.smtp.trusted_networks == tuple(map(ip_network, ("192.0.2.0/24", "2001:db8::/32", "198.51.100.7/32")))
    assert config.smtp.auth is True
    assert config.relay.smarthost == HostPort("smtp.isp.example", 587)
    assert config.relay.smarthost_password_file == tmp_path / "secret"
    assert str(config.relay.source_address6) == "2001:db8::1"
    assert config.relay.helo == "out.example.org"
    assert config.relay.routes == {
        "example.net": HostPort("192.0.2.7", 25),
        "six.example": HostPort("2001:db8::7", 2525),
        "c.example": HostPort("mx.c.example", 26),
    }
    assert config.relay.retry == (1.0, 172800.0)
    assert config.relay.delay_notice_after == 0.0
    assert config.dns.servers == (("127.0.0.1", 5353), ("192.0.2.53", 53), ("::1", 53), ("2001:db8::53", 54))


def test_a_domains_own_times_and_those_of_domains_below_it(tmp_path):
    lines = """[relay]
retry = ["5m", "1h"]
delay_notice_after = "never"
[relay.schedule."Example.net"]
retry = ["12h"]
expire_after = "10d"
[relay.schedule."fast.example.net"]
delay_notice_after = "10m"
"""
    relay = load_config(write(tmp_path, TOP + lines)).relay
    assert relay.times_for("elsewhere.example") == Times((300.0, 3600.0), 432000.0, 0.0)
    assert relay.times_for("example.net") == Times((43200.0,), 864000.0, 0.0)
    assert relay.times_for("deep.below.example.net") == relay.times_for("example.net")
    # The most specific table, and what it does not say is that of [relay], not of the table above it.
    assert relay.times_for("x.fast.example.net") == Times((300.0, 3600.0), 432000.0, 600.0)
    assert relay.times_for("notexample.net") == relay.times_for("[192.0.2.1]") == relay.times_for("")


def test_config_is_frozen(tmp_path):
    config = load_config(write(tmp_path, TOP))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        config.hostname = "x"
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        config.smtp.auth = True
    with pytest.raises(TypeError):
        config.relay.routes["x"] = HostPort("y", 1)


def test_byte_order_mark_and_windows_line_ends_are_fine(tmp_path):
    path = write(tmp_path, "\ufeff" + TOP.replace("\n", "\r\n"))
    assert load_config(path).hostname == "mail.example.org"


def test_paths_are_relative_to_the_file_and_not_to_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "etc").mkdir()
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "etc", TOP)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_config(Path("../etc/mailserver.toml")).storage.state == tmp_path / "var"


def test_link_to_a_file_counts_where_it_stands(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "etc").mkdir()
    target = write(tmp_path / "real", TOP)
    (tmp_path / "etc" / "mailserver.toml").symlink_to(target)
    assert load_config(tmp_path / "etc" / "mailserver.toml").accounts.file == tmp_path / "etc" / "accounts.toml"


# --- the sample -------------------------------------------------------------------------------------------------------


def test_sample_loads_without_a_warning():
    config = load_config(SAMPLE, check_listener)
    assert config.warnings == ()
    assert config.domains == ("example.test",)
    assert config.practice.accounts == (Mailbox("alice", "example.test"), Mailbox("bob", "example.test"))
    assert config.listen.smtp == ("tcp:2525:interface=127.0.0.1",)


def test_sample_and_schema_have_the_same_keys_in_the_same_order():
    table = tomllib.loads(SAMPLE.read_text("utf-8"))
    names = key_names(Config)
    # A list of tables cannot stand there empty.
    assert list(table) == [name for name in names if name not in ("hold", "dnsbl")]
    example = SAMPLE.read_text("utf-8").partition("# [[hold]]\n")[2].partition("\n\n")[0].splitlines()
    assert [line[2:].partition(" =")[0] for line in example] == key_names(Hold)
    for field in attrs.fields(Config):
        if attrs.has(field.type):
            assert sorted(table[field.name]) == sorted(key_names(field.type)), field.name


def test_sample_has_the_defaults_but_where_practice_needs_something_else(tmp_path):
    sample = load_config(SAMPLE)
    plain = load_config(write(tmp_path, TOP))
    practice = {"hostname", "domains", "postmaster", "practice", "storage", "accounts", "listen", "sendmail", *DERIVED}
    for field in attrs.fields(Config):
        if field.name not in practice:
            expected = getattr(plain, field.name)
            if field.name == "relay":
                expected = attrs.evolve(expected, helo=sample.hostname)
            assert getattr(sample, field.name) == expected
    assert sample.storage.min_free == plain.storage.min_free


def test_every_key_of_the_sample_has_a_comment():
    lines = SAMPLE.read_text("utf-8").splitlines()
    for number, line in enumerate(lines):
        if line and line[0] not in "#[ ":
            above = lines[number - 1]
            # A key may share the comment of the key above it.
            assert above.startswith("#") or (above and above[0] not in "#["), line


# --- finding the file -------------------------------------------------------------------------------------------------


def test_file_in_the_working_directory_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "etc").mkdir()
    write(tmp_path / "etc", TOP)
    assert find_config() == Path("etc/mailserver.toml")
    assert load_config().path == tmp_path / "etc" / "mailserver.toml"


def test_no_file_anywhere_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "mailserver.config.load.DEFAULT_PATHS", (Path("etc/mailserver.toml"), tmp_path / "mailserver.toml")
    )
    with pytest.raises(ConfigError) as raised:
        load_config()
    assert str(raised.value) == (
        f"no configuration found at etc/mailserver.toml or {tmp_path}/mailserver.toml; name the file with --config FILE"
    )


def test_unreadable_files_are_one_clear_line(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    (tmp_path / "latin").write_bytes(b'hostname = "x"\n# gr\xfc\xdfe\n')
    (tmp_path / "big").write_bytes(b"#" * 1_000_001)
    rows = [
        (tmp_path / "none.toml", "there is no such file"),
        (tmp_path, "this is a folder; name the file in it"),
        (loop, "cannot be read: Too many levels of symbolic links"),
        (Path("a\0b"), "cannot be read: embedded null byte"),
        (tmp_path / "latin", "line 2: not UTF-8; save the file in that encoding"),
        (tmp_path / "big", "this is not a configuration: it is larger than 1 MB"),
        (Path("/dev/zero"), "this is not a configuration: it is larger than 1 MB"),
    ]
    for path, text in rows:
        with pytest.raises(ConfigError) as raised:
            load_config(path)
        assert raised.value.errors == (f"{path}: {text}",)


def test_file_without_permission_is_one_clear_line(tmp_path):
    """As root nothing is unreadable, so a child that is somebody else tries it."""
    path = write(tmp_path, TOP)
    path.chmod(0)
    if os.geteuid() != 0:
        with pytest.raises(ConfigError) as raised:
            load_config(path)
        assert str(raised.value) == f"{path}: cannot be read by user id {os.geteuid()}: permission denied"
        return
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setuid(65534)
            load_config(path)
        except ConfigError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read().decode() == f"{path}: cannot be read by user id 65534: permission denied"
    os.waitpid(child, 0)


# --- what is unwise ---------------------------------------------------------------------------------------------------

LOCAL = (
    '[listen]\nsmtp = ["tcp:2525:interface=127.0.0.1"]\nsubmission = ["tcp:2587:interface=127.0.0.1"]\n'
    'submissions = []\npop3 = ["unix:/run/pop3"]\npop3s = []\n'
)

UNWISE = [
    (
        TOP.replace("mail.example.org", "mail"),
        'hostname: "mail": this is not a full name; other servers may refuse mail from it',
    ),
    (
        TOP + "[listen]\nsmtp = []\nsubmission = []\nsubmissions = []\npop3 = []\npop3s = []\n",
        "listen: every list is empty; the server takes no connections, it only sends what is queued",
    ),
    (
        TOP + '[submission]\nauth_without_tls = "always"\n',
        'submission.auth_without_tls: "always": passwords cross the network where anybody can read them',
    ),
    (
        TOP + '[pop3]\nauth_without_tls = "always"\n',
        'pop3.auth_without_tls: "always": passwords cross the network where anybody can read them',
    ),
    (
        TOP + '[relay]\nsmarthost_username = "me"\nsmarthost_password_file = "/p"\nsmarthost_ca_file = "/c"\n',
        'relay.smarthost_username: "me": without relay.smarthost this has no effect\n'
        'mailserver.toml: relay.smarthost_password_file: "/p": without relay.smarthost this has no effect\n'
        'mailserver.toml: relay.smarthost_ca_file: "/c": without relay.smarthost this has no effect',
    ),
    (
        TOP + '[relay]\nsmarthost_domains = ["example.net"]\nsmarthost_after = 2\n',
        'relay.smarthost_domains: ["example.net"]: without relay.smarthost this has no effect\n'
        "mailserver.toml: relay.smarthost_after: 2: without relay.smarthost this has no effect",
    ),
    (
        TOP + '[authentication]\nspf = "off"\nspf_fail = "refuse"\n',
        'authentication.spf_fail: "refuse": with authentication.spf = "off" this has no effect',
    ),
    (
        TOP + '[authentication]\ndkim = "off"\ndmarc_overrides = { "bank.example" = "enforce" }\n',
        'authentication.dmarc: "enforce": without both authentication.spf and authentication.dkim = "check" this has '
        "no effect",
    ),
    (
        TOP + '[listen]\nsmtp = ["haproxy:tcp:25"]\nsubmission = ["haproxy:tcp:587:interface=127.0.0.1"]\n',
        'listen.smtp[0]: "haproxy:tcp:25": whoever reaches it may claim any address, those in trusted_networks too; '
        "let a firewall, or an interface= of its own, keep everybody but the proxy away",
    ),
]


@pytest.mark.parametrize(("text", "expected"), UNWISE)
def test_what_works_and_is_unwise_is_a_warning(tmp_path, text, expected):
    assert "\n".join(warnings(tmp_path, text)) == f"mailserver.toml: {expected}"


def test_passwords_in_clear_on_loopback_are_no_warning(tmp_path):
    text = TOP + LOCAL + '[submission]\nauth_without_tls = "always"\n[pop3]\nauth_without_tls = "always"\n'
    assert warnings(tmp_path, text) == []


def test_password_without_tls_is_said_to_a_loopback_smarthost(tmp_path):
    for host in ("localhost:25", "127.0.0.2:25", "[::1]:25"):
        text = f'[relay]\nsmarthost = "{host}"\nsmarthost_tls = "none"\nsmarthost_username = "me"\n'
        config = load_config(write(tmp_path, TOP + text + 'smarthost_password_file = "p"\n'))
        assert config.relay.smarthost.is_loopback


def test_practice_is_fine_on_loopback_only(tmp_path):
    assert warnings(tmp_path, TOP + '[practice]\naccounts = ["alice@example.org"]\n' + LOCAL) == []


def test_listeners_that_do_not_collide(tmp_path):
    text = (
        '[listen]\nsmtp = ["tcp:2525:interface=127.0.0.1", "tcp:2525:interface=127.0.0.2", '
        '\'tcp6:2525:interface=\\:\\:1\', "tcp:0", "tcp:0", "haproxy:tcp:2526", "systemd:domain=INET:index=0", '
        '"systemd:domain=INET:index=1"]\n'
    )
    assert len(load_config(write(tmp_path, TOP + text), check_listener).listen.smtp) == 8


def test_without_a_check_listener_strings_are_taken_as_they_are(tmp_path):
    assert load_config(write(tmp_path, TOP + '[listen]\nsmtp = ["nonsense"]\n')).listen.smtp == ("nonsense",)


def test_errors_helper_tells_several_at_once(tmp_path):
    assert errors(tmp_path, 'hostname = 1\npostmaster = "a@b.example"\n') == [
        "mailserver.toml: hostname: 1: must be text in quotes",
        'mailserver.toml: domains: missing: set the domains whose mail is kept here, such as domains = ["example.org"]',
    ]
