"""The table [caps]."""

import pytest

from mailserver.config import Caps, ConfigError, load_config

TOP = 'hostname = "mail.example.org"\ndomains = ["example.org"]\npostmaster = "alice@example.org"\n[caps]\n'


def loaded(folder, text):
    path = folder / "mailserver.toml"
    path.write_text(TOP + text)
    return load_config(path).caps


def test_without_keys_people_do_not_notice_it(tmp_path):
    assert loaded(tmp_path, "") == Caps(500, 1000, 200)


def test_an_account_of_its_own(tmp_path):
    caps = loaded(
        tmp_path, 'messages = 10\n[caps.accounts."News@Example.ORG"]\nrecipients = 20000\nnew_recipients = 0\n'
    )
    news, other = caps.of("news@example.org"), caps.of("alice@example.org")
    assert (news.messages, news.recipients, news.new_recipients) == (10, 20_000, 0)
    assert (other.messages, other.recipients, other.new_recipients) == (10, 1000, 200)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("messages = -1", "caps.messages: -1"),
        ('recipients = "many"', "caps.recipients"),
        ("mesages = 1", "caps.mesages"),
        ("accounts = 1", "caps.accounts: 1: must be tables"),
        ("[caps.accounts.alice]\nmessages = 1", 'caps.accounts."alice"'),
        (
            '[caps.accounts."a@example.org"]\nmessage = 1',
            'caps.accounts."a@example.org".message: 1: there is no such key',
        ),
        ('[caps.accounts."a@example.org"]\nmessages = true', 'caps.accounts."a@example.org".messages'),
        ('[caps.accounts]\n"a@example.org" = 5', 'must be a table: a line [caps.accounts."alice@example.org"]'),
        ('[caps.accounts."a@example.org"]\n[caps.accounts."A@example.org"]', "stands here twice"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, told):
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert told in str(caught.value)
