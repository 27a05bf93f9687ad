"""The test that destroys the original: a backup under load, everything deleted, and a server on what came back."""

import email
import poplib
import shutil
import smtplib
import threading

from tests.integration.server import ALICE, BOB, HOST, LIMIT_S, Server, wait_until

ACKNOWLEDGED_BEFORE = 30
FAR = "far.test"


class Load:
    """Clients that send letters to alice, and submit some for elsewhere, until they are stopped."""

    def __init__(self, server):
        self._server = server
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.acknowledged = []
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(3)]
        for thread in self._threads:
            thread.start()

    def _run(self, number):
        count = 0
        while not self._stop.is_set():
            with smtplib.SMTP(HOST, self._server.ports["submission"], timeout=LIMIT_S) as client:
                client.starttls(context=self._server.tls)
                client.login(BOB, self._server.password(BOB))
                for _ in range(10):
                    count += 1
                    self._send(client, f"{number}-{count}")
                    self._stop.wait(0.02)

    def _send(self, client, name):
        recipients = [ALICE] if int(name.partition("-")[2]) % 3 else [ALICE, f"carol@{FAR}"]
        text = f"From: {BOB}\r\nMessage-ID: <{name}@example.test>\r\nSubject: {name}\r\n\r\n" + "x" * 900 + "\r\n"
        client.sendmail(BOB, recipients, text)
        with self._lock:
            self.acknowledged.extend((name, recipient) for recipient in recipients)

    def so_far(self):
        with self._lock:
            return list(self.acknowledged)

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()


def names(letters):
    return [email.message_from_bytes(letter)["Subject"] for letter in letters]


def fetch(server):
    """What POP3 shows of alice's maildrop: unique-ids and letters."""
    client = poplib.POP3_SSL(HOST, server.ports["pop3s"], context=server.tls, timeout=LIMIT_S)
    client.user(ALICE)
    client.pass_(server.password(ALICE))
    uidls = {line.split()[1].decode() for line in client.uidl()[1]}
    letters = [b"\n".join(client.retr(number + 1)[1]) for number in range(len(uidls))]
    client.quit()
    return uidls, letters


def test_everything_acknowledged_before_the_backup_is_there_after_the_original_is_gone(tmp_path):
    for name in ("near", "far", "again"):
        (tmp_path / name).mkdir()
    far_settings = {"hostname": "mx.far.test", "domains": [FAR], "postmaster": f"carol@{FAR}"}
    far = Server(tmp_path / "far", far_settings, accounts=[f"carol@{FAR}"])
    # Nobody listens there yet, so what is for elsewhere waits.
    settings = {
        "relay": {"routes": {FAR: f"{HOST}:{far.ports['smtp']}"}, "retry": ["1s"], "expire_after": "1h"},
        "caps": {"messages": 100_000, "recipients": 100_000, "new_recipients": 100_000},
    }
    near = Server(tmp_path / "near", settings).start()
    backups = tmp_path / "backups"
    load = Load(near)
    try:
        wait_until(lambda: len(load.so_far()) >= ACKNOWLEDGED_BEFORE, "some mail")
        near.cli("backup", str(backups))
        before = load.so_far()
        # A program that reads along moves letters from new to cur.
        uidls, _ = fetch(near)
        assert "linked" in near.cli("backup", str(backups))
    finally:
        load.stop()
        near.kill()
    near.folder.rename(tmp_path / "gone")
    shutil.rmtree(tmp_path / "gone")

    again = Server(tmp_path / "again", settings)
    assert "none damaged" in again.cli("restore", str(backups), "--verify")
    again.cli("restore", str(backups), "--all")
    with far, again:
        seen, letters = fetch(again)
        assert uidls <= seen, "the same unique-ids: no mail program fetches anything twice"
        found = names(letters)
        assert len(found) == len(set(found)), "nothing twice"
        assert {name for name, recipient in before if recipient == ALICE} <= set(found)
        expected = {name for name, recipient in before if recipient != ALICE}
        assert expected
        carol = f"carol@{FAR}"
        wait_until(lambda: again.cli("queue", "list", "--json").strip() == "[]", "an empty queue")
        arrived = names(far.messages(carol))
        assert expected <= set(arrived)
        assert len(arrived) == len(set(arrived))

        # One letter that somebody deleted comes back while the server runs.
        lost = again.mailbox(ALICE)
        victim = next(path for part in ("new", "cur") for path in (lost / part).iterdir())
        victim.unlink()
        again.cli("restore", str(backups), "--account", ALICE)
        [back] = [path for part in ("new", "cur") for path in (lost / part).glob(f"{victim.name.partition(':')[0]}*")]
        assert email.message_from_bytes(back.read_bytes())["Message-ID"]
        assert fetch(again)[0] == seen
