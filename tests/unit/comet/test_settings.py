"""`comet init` and `active` where servers are known already, by our file or by the old client's."""

import base64
import getpass
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from comet.client.configuration import load
from tests.nucleus_server import TOKEN, published_nucleus
from tests.unit.comet.conftest import Comet
from tests.unit.comet.test_configuration import OLD

OTHER = '[endpoints.other]\nurl = "https://other.example.org"\n'


def test_init_again_offers_what_is_known_and_keeps_the_other_servers(configured: Path, comet: Comet) -> None:
    """What the server answered before is forgotten: the user may be another."""
    configured.write_text(configured.read_text() + f'ca = "{configured.parent}/ca.pem"\n' + OTHER)
    before = load(configured)
    assert comet("ll").status == 0 and comet("ll", "--cached").status == 0
    assert comet("init", "--user=ann", "--token-file=-", stdin=TOKEN).status == 0
    assert load(configured) == before and before.endpoint().ca == f"{configured.parent}/ca.pem"
    assert comet("ll", "--cached").status == 6
    given = ("init", "--endpoint=other", "--user=ann", "--token-file=-")
    assert comet(*given, f"--url={before.endpoint().url}", stdin=TOKEN).status == 0
    assert load(configured).active == "other" and load(configured).endpoints["dev"] == before.endpoint()
    assert comet("init", "--endpoint=new", "--user=ann", "--token-file=-", stdin=TOKEN).status == 2, (
        "no address"
    )


def test_servers_of_the_old_client_are_taken_over_and_its_file_stays(
    configured: Path, comet: Comet, folder: Path
) -> None:
    configured.unlink()
    old = folder / ".cloudmesh" / "cloudmesh.yaml"
    old.parent.mkdir()
    old.write_text(OLD)
    refused = comet("active", "production")
    assert refused.status == 2 and "is the old client's and is not changed: run comet init" in refused.err
    given = ("init", "--endpoint=dev", f"--url={comet.server.url}", "--user=ann", "--token-file=-")
    done = comet(*given, stdin=TOKEN)
    assert done.status == 0 and done.err == (
        f"{configured} is read instead of {old}, whose keys and passwords were not copied. "
        "Sign in to the others, too: comet init --endpoint=production\n"
    )
    assert comet(*given, stdin=TOKEN).err == ""
    found = load(configured)
    assert found.active == "dev" and found.endpoints["production"].url == "https://old.example.org/nucleus"
    assert "secret" not in configured.read_text() and old.read_text() == OLD


@pytest.fixture
def write_old(comet: Comet, configured: Path, folder: Path) -> Callable[[str], Path]:
    """Writes the old client's file with such a password of eve."""
    configured.unlink()
    old = folder / ".cloudmesh" / "cloudmesh.yaml"
    old.parent.mkdir()

    def write(password: str) -> Path:
        text = OLD.replace("auth_provider: apikey", "auth_provider: userpass").replace("readline", password)
        text = text.replace("https://old.example.org/nucleus", comet.server.url)
        old.write_text(text.replace("userpass: {username: ann", "userpass: {username: eve"), "utf-8")
        old.chmod(0o644)
        return old

    return write


def test_who_types_a_password_slowly_gets_the_answer(
    comet: Comet, write_old: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of an answer begins when the password is known."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(getpass, "getpass", lambda prompt: now.append(now.pop() + 900) or "typed")
    published_nucleus(comet.server, f"Basic {base64.b64encode(b'eve:typed').decode()}")
    write_old("readline")
    listed = comet("ll", terminal="")
    assert (listed.status, now) == (0, [1900.0]), listed.err


def test_a_shell_asks_for_a_password_once_and_again_when_it_was_wrong(
    comet: Comet, write_old: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, asked = iter(("mistyped", "typed")), list[str]()
    monkeypatch.setattr(getpass, "getpass", lambda prompt: asked.append(next(answers)) or asked[-1])
    published_nucleus(comet.server, f"Basic {base64.b64encode(b'eve:typed').decode()}")
    write_old("readline")
    done = comet("shell", terminal="ll\ncluster vc2\niso list\nexit\n")
    assert (done.status, asked) == (3, ["mistyped", "typed"]), done.err


def test_a_password_that_is_no_text_is_not_sent(
    comet: Comet, write_old: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_old("env")
    monkeypatch.setitem(os.environ, "COMET_PASSWORD", os.fsdecode(b"s\xe9cret"))
    refused = comet("ll")
    assert refused.status == 3 and comet.server.requests == []
    assert refused.err == (
        f"the password for {comet.server.url} is not UTF-8 text: correct COMET_PASSWORD, or run comet init\n"
    )


def test_a_password_is_sent_as_the_old_client_s_file_says_and_not_stored(
    configured: Path,
    comet: Comet,
    folder: Path,
    write_old: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`readline` asks once for each command, at a terminal; `env` is COMET_PASSWORD, which counts for both."""
    asked: list[str] = []
    monkeypatch.setattr(getpass, "getpass", lambda prompt: asked.append(prompt) or "s\u00e9cret")
    credentials = base64.b64encode("eve:s\u00e9cret".encode()).decode()
    published_nucleus(comet.server, f"Basic {credentials}")
    old = write_old("readline")
    assert comet("cluster", "vc2", terminal="").status == 0 and comet("iso", "list", terminal="").status == 0
    assert asked == [f"Password at {comet.server.url}: "] * 2 and old.stat().st_mode & 0o777 == 0o644
    assert (
        comet("ll", "--cached", terminal="").status == 6 and comet("cache", "clear", terminal="").status == 0
    )
    refused = comet("ll")
    assert refused.status == 3 and "set COMET_PASSWORD" in refused.err and len(asked) == 2
    write_old("env")
    assert comet("ll", terminal="").status == 3
    monkeypatch.setenv("COMET_PASSWORD", "s\u00e9cret")
    assert comet("ll").status == 0
    write_old("readline")
    assert comet("ll", terminal="").status == 0 and len(asked) == 2
    monkeypatch.delenv("COMET_PASSWORD")
    write_old("s\u00e9cret")
    own = comet("ll")
    assert own.status == 0 and old.stat().st_mode & 0o777 == 0o600 and "others could read it" in own.err
    assert "cret" not in repr(load(old).endpoint())
    secret = "s\u00e9cret".encode()
    assert not any(secret in it.read_bytes() for it in folder.rglob("*") if it.is_file() and it != old)
    server = comet.server.url
    given = ("init", "--endpoint=production", f"--url={server}", "--user=ann", "--token-file=-")
    del comet.server.answers[""]
    assert comet(*given, stdin=TOKEN).status == 0
    assert "password" not in configured.read_text() and secret not in configured.read_bytes()
