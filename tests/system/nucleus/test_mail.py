"""Mails about reservations, by a real SMTP server: what arrives, and what happens when the server does not take it."""

from __future__ import annotations

import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller as Server
from aiosmtpd.smtp import SMTP, Envelope, Session

from lab.simulator import Simulator
from nucleus.backends.rocks import Rocks
from nucleus.cli.main import main
from nucleus.configuration import Configuration, MailSettings, WorkSettings, read_configuration
from nucleus.mirror import operations
from nucleus.mirror.claims import Claimant
from nucleus.mirror.pool import Guard, Pool
from nucleus.operations import smtp
from nucleus.operations.causes import RefusedError
from nucleus.operations.job import Tools
from nucleus.operations.worker import perform
from nucleus.records import NewOperation
from owners.computesets import records as computesets
from owners.reservations import mail
from owners.reservations.controller import Controller
from rocks.core.errors import UserError
from rocks.core.process import run
from tests.servers import free_port
from tests.system.nucleus.conftest import add_set, compute_numbers, sql
from tests.system.nucleus.slurm_rounds import Hands


class Letters:
    """What the server has taken; `answer` in place of it."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, list[str], str]] = []
        self.answer = ""

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 # its name there
        if self.answer:
            return self.answer
        assert isinstance(envelope.content, bytes)
        self.taken.append((str(envelope.mail_from), envelope.rcpt_tos, envelope.content.decode("utf-8")))
        return "250 OK"


class Post:
    """A controller and a worker with a mail server; the clock is a test's."""

    def __init__(self, pool: Pool, letters: Letters, port: int, text_file: str = "") -> None:
        self.pool, self.letters, self.hands = pool, letters, Hands()
        settings = MailSettings(f"127.0.0.1:{port}", "nucleus@site.example", text_file)
        self._guard = Guard(pool.settings, "reservations")
        assert self._guard.take()
        self._controller = Controller(
            Configuration(database=pool.settings, mail=settings), self._guard, self.hands.clock
        )
        self._claimant = Claimant("post", 4, 4, [mail.MAIL, "warn_set"])
        self._tools = Tools(
            pool, Rocks(Simulator(1), 60), WorkSettings(attempts=1), threading.Event(), mail=settings
        )

    def reserve(self, email: str, **interval: Any) -> None:
        """An interval that begins in a minute."""
        begin = (
            datetime(2026, 12, 1, 10, tzinfo=UTC) if interval else datetime.now(UTC) + timedelta(minutes=1)
        )
        with self.pool.transaction() as session:
            user = session.insert("user", {"username": "ann", "email": email})
            place = session.insert("reservation_site", {"name": "UCSD", "cpus": 64, "memory_gb": 192})
            number = session.insert(
                "reservation",
                {
                    "site_id": place,
                    "user_id": user,
                    "vc": "dock6",
                    "cpus": 4,
                    "memory_gb": 4,
                    "public_key": "k",
                },
            )
            times = {"begins_at": begin, "ends_at": begin + timedelta(hours=8), "request": "nucleus-1"}
            session.insert("reservation_interval", {"reservation_id": number, **times, **interval})

    def miss(self) -> None:
        """The service did not run at the interval's time: it fails."""
        self.hands.ahead_seconds = 10 * 3600.0
        self._controller.round()

    def deliver(self) -> list[tuple[str, Any]]:
        """Have the worker do one operation; state and error of each mail's operation."""
        with self.pool.transaction() as session:
            claimed = self._claimant.claim(session)
        if claimed is not None:
            perform(self._tools, claimed)
        return sql(self.pool, "SELECT state, JSON_VALUE(error, '$.detail') FROM operation ORDER BY id")

    def close(self) -> None:
        self._guard.release()


@pytest.fixture
def post(pool: Pool) -> Iterator[Post]:
    letters = Letters()
    port = free_port()
    server = Server(letters, hostname="127.0.0.1", port=port)
    server.start()
    made = Post(pool, letters, port)
    yield made
    made.close()
    server.stop()


def test_an_owner_gets_a_mail_when_a_reservation_has_failed(post: Post) -> None:
    post.reserve("ann@site.example")
    post.miss()
    assert post.deliver() == [("succeeded", None)]
    ((sender, receivers, text),) = post.letters.taken
    assert (sender, receivers) == ("nucleus@site.example", ["ann@site.example"])
    assert re.search(r"Subject: Reservation \d+ of UCSD: failed", text)
    assert re.search(r"Reservation \d+ of UCSD is failed: cluster image dock6, from ", text)
    assert "\nthe service did not run at its time" in text.replace("\r", "")
    post.miss()
    assert post.deliver() == [("succeeded", None)], "once"


def test_an_owner_gets_a_mail_when_the_site_of_a_reservation_is_retired(
    post: Post, environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    post.reserve("ann@site.example")
    sql(post.pool, "UPDATE reservation_site SET address = 'root@192.0.2.1'")
    for name, value in (("SERVER", "127.0.0.1"), ("SENDER", "nucleus@site.example")):
        monkeypatch.setenv(f"NUCLEUS_MAIL_{name}", value)
    for _ in range(2):
        assert main(["site", "retire", "UCSD"]) == 0
    assert post.deliver() == [("succeeded", None)], "once"
    ((_, receivers, text),) = post.letters.taken
    assert receivers == ["ann@site.example"]
    assert "is failed: " in text and "\nthe site is gone" in text.replace("\r", "")


def test_an_owner_without_an_address_gets_none(post: Post) -> None:
    post.reserve("")
    post.miss()
    assert post.deliver() == [("succeeded", None)] and post.letters.taken == []


def test_a_server_that_is_not_ready_is_asked_again_and_one_that_refuses_is_not(post: Post) -> None:
    post.reserve("ann@site.example")
    post.miss()
    post.letters.answer = "451 later, please"
    assert post.deliver() == [("queued", None)]
    sql(post.pool, "UPDATE operation SET not_before = NULL")
    post.letters.answer = "550 no such user here"
    ((state, error),) = post.deliver()
    assert state == "failed" and error.endswith("did not take the mail: no such user here")
    sql(post.pool, "UPDATE operation SET state = 'queued', created = created - INTERVAL 2 HOUR")
    post.letters.answer = "451 later, please"
    assert post.deliver()[0][0] == "failed", "an hour is over"


def test_who_started_a_set_gets_a_mail_before_it_ends(post: Post, pool: Pool, cluster_number: int) -> None:
    number, (ann,) = add_set(pool, cluster_number, 1), [{"username": "ann", "email": "ann@site.example"}]
    with pool.transaction() as session:
        second = compute_numbers(session, cluster_number)[1:2]
        new = computesets.NewComputeset(cluster_number, second, "ann", "alp1", None, 60, "ann")
        other = computesets.insert_computeset(session, new)
    end = datetime.now(UTC).replace(tzinfo=None, microsecond=0) + timedelta(minutes=30)

    def warned(part: int = number) -> list[str]:
        with pool.transaction() as session:
            operations.insert_operation(
                session, NewOperation("warn_set", "nucleus", cluster_number, target_set=part)
            )
        assert post.deliver()[-1] == ("succeeded", None)
        return [text.replace("\r", "") for _, _, text in post.letters.taken]

    def changed(part: int, **values: object) -> None:
        with pool.transaction() as session:
            session.update("computeset", values, id=part)

    changed(number, state="running", walltime_end=end)
    changed(other, state="running", walltime_end=end + timedelta(minutes=1), merged_into=number)
    assert warned() == [], "nobody of that name has an address"
    with pool.transaction() as session:
        session.insert("user", ann)
    (text,) = warned()
    assert f"Subject: Nodes of computeset {number} of vc2 end at {end:%Y-%m-%d %H:%M} UTC\n" in text
    assert "are shut down:\nvm-vc2-[0-1]\n" in text and f"comet extend {number} +2h\n" in text
    assert warned(other) == [text], "the mail of the first part has its nodes"
    changed(other, requested_by="bob")
    with pool.transaction() as session:
        session.insert("user", {"username": "bob", "email": "bob@site.example"})
    assert len(warned(other)) == 2, "each owner has one"
    for late in (timedelta(hours=4), -timedelta(hours=1)):
        changed(number, walltime_end=end + late)
        assert len(warned()) == 2, "it was extended, or ends, while the mail waited"
    changed(number, walltime_end=end, cancel_requested="shutdown")
    assert len(warned()) == 2, "its end has begun"


@pytest.mark.parametrize(
    "email", ["ann@site.example\nBcc: all@site.example", "a@x.example, b@y.example", "ann", "undisclosed:;"]
)
def test_what_is_not_one_address_is_refused(email: str) -> None:
    mailed = mail.Mailed(1, "UCSD", "dock6", datetime.now(UTC), datetime.now(UTC), None, None, None, email)
    with pytest.raises(RefusedError, match="is not a mail address"):
        mail.compose(MailSettings(sender="a@b"), mailed, "failed")


def test_the_site_has_a_text_of_its_own(tmp_path: Path) -> None:
    text = tmp_path / "text"
    now = datetime(2026, 12, 1, 10, tzinfo=UTC)
    mailed = mail.Mailed(7, "UCSD", "dock6", now, now, None, "dock", "203.0.113.20", "ann@b")
    text.write_text("$vc of $site since $begin: $details ($$)\n")
    settings = MailSettings("relay", "a@b", str(text))
    mail.check_template(str(text))
    assert mail.compose(settings, mailed, "running").get_content() == (
        "dock6 of UCSD since 2026-12-01 10:00: Your cluster dock answers: ssh root@203.0.113.20 ($)\n"
    )
    for wrong, error in (("$nothing", "'nothing'; the variables are"), ("cost: 5 $", "Invalid placeholder")):
        text.write_text(wrong)
        with pytest.raises(UserError, match=error):
            mail.check_template(str(text))
    with pytest.raises(UserError, match="No such file"):
        mail.compose(MailSettings("relay", "a@b", str(tmp_path / "none")), mailed, "running")
    with pytest.raises(UserError, match="No such file"):
        mail.check_template(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("server", "sender", "error"),
    [
        ("a b", "a@b", "server is HOST"),
        ("relay:99999", "a@b", "server is HOST"),
        ("relay", "ann", "sender is the address"),
    ],
)
def test_settings_that_are_none(tmp_path: Path, server: str, sender: str, error: str) -> None:
    file = tmp_path / "nucleus.toml"
    file.write_text(f'[mail]\nserver = "{server}"\nsender = "{sender}"\n')
    with pytest.raises(UserError, match=error):
        read_configuration(file, {})


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ([b"220-endless\r\n" * 1000] * 4000, smtp.TRY_AGAIN),
        ([b"220 a\r\n", b"250 b\r\n", b"250 c\r\n", b"250 d\r\n", b"354 go\r\n"], 0),
        (
            [b"220 a\r\n", b"250 b\r\n", b"250 c\r\n", b"250 d\r\n", b"354 go\r\n", b"554 no\r\n"],
            smtp.UNAVAILABLE,
        ),
        ([b"220 a\r\n", b"250 b\r\n", b"250 c\r\n", b"450 full\r\n"], smtp.TRY_AGAIN),
    ],
    ids=["endless", "no last answer", "refused at last", "full"],
)
def test_servers_that_break_off_or_have_no_end(answers: list[bytes], status: int) -> None:
    """A text that has gone completely is not sent again, except after a refusal."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with connection, suppress(OSError):
            for number, line in enumerate(answers):
                if number and len(answers) < 10:
                    connection.recv(65536)
                connection.sendall(line)
            connection.recv(65536)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    program = [sys.executable, "-I", smtp.__file__, "127.0.0.1", str(server.getsockname()[1]), "a@b", "c@d"]
    ended = run(program, deadline_seconds=60, standard_input=b"Subject: x\r\n\r\n.\r\n", max_bytes=65536)
    server.close()
    assert ended.exit_status == status, ended.error_text
