"""What must be right before the server is built, on a real folder."""

import pytest
import trustme

from mailserver.config import load_config
from mailserver.foundation import StartTrouble, lay_foundation, running_server
from mailserver.store.state_lock import StateLock

NOW = 1_750_000_000.0


def config_with(tmp_path, extra=""):
    path = tmp_path / "etc" / "mailserver.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        'hostname = "mail.example.test"\ndomains = ["example.test"]\npostmaster = "alice@example.test"\n' + extra
    )
    return load_config(path)


def own_certificate(tmp_path):
    issued = trustme.CA().issue_cert("mail.example.test")
    (tmp_path / "key.pem").write_bytes(issued.private_key_pem.bytes())
    (tmp_path / "chain.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    return f'[tls]\ncertificate = "{tmp_path}/chain.pem"\nprivate_key = "{tmp_path}/key.pem"\n'


def test_a_new_folder_gets_state_lock_and_certificate(tmp_path):
    config = config_with(tmp_path)
    foundation = lay_foundation(config, NOW)
    assert foundation.self_signed == config.storage.state / "tls" / "certificate.pem"
    assert foundation.tls.facts.is_self_signed
    assert foundation.practice == ()
    assert running_server(config.storage.state).endswith("(server)")
    foundation.lock.release()
    assert running_server(config.storage.state) == ""


def test_nobody_runs_where_nothing_is(tmp_path):
    assert running_server(tmp_path) == ""


def test_the_owners_certificate_is_taken_and_none_is_made(tmp_path):
    config = config_with(tmp_path, own_certificate(tmp_path))
    foundation = lay_foundation(config, NOW)
    assert foundation.self_signed is None
    assert not (config.storage.state / "tls").exists()
    foundation.lock.release()


def test_practice_accounts_are_in_force_at_once(tmp_path):
    config = config_with(tmp_path, '[practice]\naccounts = ["alice@example.test"]\n')
    foundation = lay_foundation(config, NOW)
    [account] = foundation.practice
    assert foundation.accounts.account(account.mailbox) is not None
    foundation.lock.release()


def test_a_state_folder_in_use_is_refused_with_who_uses_it(tmp_path):
    config = config_with(tmp_path)
    with StateLock(config.storage.state, "import"), pytest.raises(StartTrouble, match=r"process \d+ \(import\): stop"):
        lay_foundation(config, NOW)
    assert not (config.storage.state / "tls").exists()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda tmp: (tmp / "etc" / "accounts.toml").write_text("[["), "accounts.toml"),
        (lambda tmp: (tmp / "key.pem").write_text(""), "holds no private key"),
        (lambda tmp: (tmp / "var").write_text("a file"), "storage.state: .* Make the folder"),
    ],
)
def test_trouble_is_one_text_and_leaves_nothing_behind(tmp_path, damage, words):
    config = config_with(tmp_path, own_certificate(tmp_path))
    damage(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StartTrouble, match=words):
        lay_foundation(config, NOW)
    assert sorted(tmp_path.rglob("*")) == before


def test_after_trouble_with_practice_accounts_the_lock_is_free_again(tmp_path):
    config = config_with(tmp_path, '[practice]\naccounts = ["alice@example.test"]\n')
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "practice-passwords").mkdir()
    with pytest.raises(StartTrouble, match="practice-passwords"):
        lay_foundation(config, NOW)
    StateLock(config.storage.state, "test").release()


def test_a_folder_for_mail_that_cannot_be_made_is_told_and_the_lock_is_free_again(tmp_path):
    config = config_with(tmp_path)
    (tmp_path / "maildirs").write_text("a file")
    with pytest.raises(StartTrouble, match=r"storage.maildirs: .* Make the folder"):
        lay_foundation(config, NOW)
    StateLock(config.storage.state, "test").release()


def test_a_folder_for_mail_that_may_not_be_written_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_, **__: False)
    with pytest.raises(StartTrouble, match=r"storage.maildirs: .*permission denied"):
        lay_foundation(config_with(tmp_path), NOW)
