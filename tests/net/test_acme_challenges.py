"""Showing an authority that a name is ours: files, a command, a table; and what each says when it cannot."""

import os
import stat
import sys
import time

import pytest

from mailserver.net.acme_challenges import ChallengeTrouble, DnsHook, OwnListener, Proof, Webroot
from mailserver.net.challenges import Challenges

PROOF = Proof("mail.example.org", "to-ken_1", "to-ken_1.thumb", "digest")
OTHER = Proof("*.example.org", "token2", "token2.thumb", "digest2")


def at_once(call):
    call()


def no_wait(seconds):
    raise AssertionError("nothing has to be waited for")


# --- our own listener -------------------------------------------------------------------------------------------------


def test_our_own_listener_answers_as_long_as_it_has_to():
    answers = Challenges()
    showing = OwnListener(answers, at_once)
    showing.show([PROOF, OTHER], no_wait)
    assert answers.answer("to-ken_1") == "to-ken_1.thumb"
    assert answers.answer("token2") == "token2.thumb"
    assert showing.take_away([PROOF, OTHER]) == []
    assert answers.answer("to-ken_1") is None
    assert showing.take_away([PROOF]) == []


# --- another web server -----------------------------------------------------------------------------------------------


def test_a_web_server_of_another_user_can_read_the_file(tmp_path):
    before = os.umask(0o077)
    try:
        Webroot(tmp_path).show([PROOF], no_wait)
    finally:
        os.umask(before)
    folder = tmp_path / ".well-known" / "acme-challenge"
    file = folder / "to-ken_1"
    assert file.read_bytes() == b"to-ken_1.thumb"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder.parent, folder, file)] == [0o755, 0o755, 0o644]
    assert Webroot(tmp_path).take_away([PROOF]) == []
    assert list(folder.iterdir()) == []
    assert Webroot(tmp_path).take_away([PROOF]) == []


def test_what_an_earlier_order_left_is_written_over(tmp_path):
    Webroot(tmp_path).show([PROOF], no_wait)
    Webroot(tmp_path).show([PROOF], no_wait)


@pytest.mark.parametrize("token", ["../../etc/passwd", "a/b", "", ".", "a" * 257, "tokén", "token\n"])
def test_a_token_that_is_none_never_becomes_a_file(tmp_path, token):
    with pytest.raises(ChallengeTrouble, match="a token that is none"):
        Webroot(tmp_path).show([Proof("mail.example.org", token, "answer", "record")], no_wait)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert Webroot(tmp_path).take_away([Proof("mail.example.org", token, "answer", "record")]) == []


def test_a_folder_that_cannot_be_written_is_told_with_what_to_do(tmp_path):
    (tmp_path / ".well-known").write_bytes(b"no folder")
    with pytest.raises(ChallengeTrouble, match="cannot be written: ") as caught:
        Webroot(tmp_path).show([PROOF], no_wait)
    assert "acme.webroot" in caught.value.remedy


# --- a command --------------------------------------------------------------------------------------------------------


def hook(tmp_path, body):
    path = tmp_path / "hook"
    path.write_text(f"#!{sys.executable}\nimport signal, sys\n{body}\n")
    path.chmod(0o755)
    return path


def test_the_hook_gets_name_and_value_as_they_are(tmp_path):
    path = hook(tmp_path, f"print(sys.argv[1:], file=open({str(tmp_path / 'log')!r}, 'a'))")
    waits = []
    showing = DnsHook(path, 7.0)
    showing.show([PROOF, OTHER], waits.append)
    assert showing.take_away([PROOF, OTHER]) == []
    assert (tmp_path / "log").read_text().splitlines() == [
        "['add', '_acme-challenge.mail.example.org', 'digest']",
        "['add', '_acme-challenge.example.org', 'digest2']",
        "['remove', '_acme-challenge.mail.example.org', 'digest']",
        "['remove', '_acme-challenge.example.org', 'digest2']",
    ]
    assert waits == [7.0]


def test_no_shell_sees_what_the_authority_says(tmp_path):
    path = hook(tmp_path, f"print(repr(sys.argv[3]), file=open({str(tmp_path / 'log')!r}, 'a'))")
    DnsHook(path, 0.0).take_away([Proof("a.example", "t", "a", f"$(touch {tmp_path}/made); `id`")])
    assert not (tmp_path / "made").exists()
    assert "$(touch" in (tmp_path / "log").read_text()


# Ends by itself, and keeps what it inherited open until then.
LINGERS = "import signal; signal.alarm(8); signal.pause()"
SAYS_WHY = r"print('no such zone\n  try again', file=sys.stderr); sys.exit(3)"


@pytest.mark.parametrize(
    ("body", "words", "timeout_s"),
    [
        (SAYS_WHY, "ended with status 3 and said: no such zone / try again", 60.0),
        ("sys.exit(1)", "ended with status 1", 60.0),
        ("signal.pause()", "did not end within 0.3 s", 0.3),
    ],
)
def test_a_hook_that_fails_is_told_with_its_own_words(tmp_path, body, words, timeout_s):
    showing = DnsHook(hook(tmp_path, body), 0.0, timeout_s)
    with pytest.raises(ChallengeTrouble) as caught:
        showing.show([PROOF], no_wait)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"`{tmp_path}/hook add _acme-challenge.mail.example.org digest`")
    assert "run it by hand" in caught.value.remedy
    (left,) = showing.take_away([PROOF])
    assert "hook remove _acme-challenge" in left


def test_a_hook_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ChallengeTrouble, match="cannot be run: no such file"):
        DnsHook(tmp_path / "hook", 0.0).show([PROOF], no_wait)


def test_a_hook_that_cannot_be_run_is_told(tmp_path):
    path = hook(tmp_path, "")
    path.chmod(0o600)
    with pytest.raises(ChallengeTrouble, match="cannot be run: permission denied"):
        DnsHook(path, 0.0).show([PROOF], no_wait)


def test_what_a_hook_leaves_in_the_background_is_not_waited_for(tmp_path):
    path = hook(tmp_path, f"import subprocess; subprocess.Popen([sys.executable, '-c', {LINGERS!r}])")
    began = time.monotonic()
    DnsHook(path, 0.0, 30.0).show([PROOF], lambda seconds: None)
    assert time.monotonic() - began < 5.0


def test_a_daemon_that_leaves_the_group_of_a_hung_hook_is_not_waited_for(tmp_path):
    body = f"import subprocess; subprocess.Popen([sys.executable, '-c', {LINGERS!r}], start_new_session=True)"
    began = time.monotonic()
    with pytest.raises(ChallengeTrouble, match=r"did not end within 0\.5 s"):
        DnsHook(hook(tmp_path, f"{body}\nsignal.pause()"), 0.0, 0.5).show([PROOF], no_wait)
    assert time.monotonic() - began < 5.0


def test_the_end_of_what_a_talkative_hook_says_is_told(tmp_path):
    body = "sys.stdout.write('x' * 5_000_000); print('; no such zone', flush=True); sys.exit(1)"
    with pytest.raises(ChallengeTrouble, match=r"x; no such zone$"):
        DnsHook(hook(tmp_path, body), 0.0).show([PROOF], no_wait)


def test_a_hook_runs_where_more_than_a_thousand_files_are_open(tmp_path):
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1030)]
    try:
        DnsHook(hook(tmp_path, "print('done')"), 0.0).show([PROOF], lambda seconds: None)
    finally:
        for descriptor in held:
            os.close(descriptor)


def test_a_hook_that_closes_its_output_is_waited_for(tmp_path):
    body = "import os; os.close(1); os.close(2); sys.stdin.read(); os._exit(4)"
    with pytest.raises(ChallengeTrouble, match=r"ended with status 4$"):
        DnsHook(hook(tmp_path, body), 0.0).show([PROOF], no_wait)
