"""The configuration file, the old client's, the environment, and tokens that others could read."""

from __future__ import annotations

import base64
import getpass
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from comet import AuthenticationError, UsageError
from comet.client.configuration import Configuration, Endpoint, checked_url, load, save
from tests.nucleus_server import TOKEN, published_nucleus
from tests.unit.comet.conftest import Comet

OLD = """cloudmesh:
  comet:
    username: ann
    active: production
    endpoints:
      dev: {nucleus_base_url: TBD}
      production:
        nucleus_base_url: https://old.example.org/nucleus
        api_version: v1
        auth_provider: apikey
        userpass: {username: ann, password: readline}
        apikey: {api_key: ann@example.org, api_secret: secret}
"""


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.toml"
    dev = Endpoint(
        "dev", "https://n.example.org/nucleus", 'a"nn\x01', "nuc_12345678_" + "x" * 43, "/ca\\d.pem"
    )
    save(path, Configuration(path, "dev", {"dev": dev}))
    assert path.stat().st_mode & 0o777 == 0o600
    found = load(path)
    assert (found.active, found.endpoints, found.notes) == ("dev", {"dev": dev}, ())


def test_a_file_with_a_token_that_others_may_read_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        'active = "d"\n[endpoints.d]\nurl = "https://n.example.org"\ntoken = "nuc_12345678_xyz"\n'
    )
    path.chmod(0o644)
    (note,) = load(path).notes
    assert path.stat().st_mode & 0o777 == 0o600
    assert note == (
        f"{path} had a token and others could read it; now its mode is 0600. If others use this machine, "
        "revoke the token (comet token revoke), and run comet init"
    )


@pytest.mark.parametrize(
    ("text", "secret", "advice"),
    [
        (
            OLD.replace("provider: apikey", "provider: userpass").replace("readline", "hunter2"),
            "password",
            "change the password at the site",
        ),
        (OLD, "key", "ask the site's operators for another key"),
    ],
)
def test_a_file_of_the_old_client_that_others_may_read_is_closed(
    tmp_path: Path, text: str, secret: str, advice: str
) -> None:
    path = tmp_path / "cloudmesh.yaml"
    path.write_text(text)
    path.chmod(0o644)
    (note,) = load(path).notes
    assert path.stat().st_mode & 0o777 == 0o600 and load(path).notes == ()
    assert f"had a {secret} and" in note and f"use this machine, {advice}, and run comet init" in note


def test_the_old_clients_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cloudmesh.yaml"
    path.write_text(OLD)
    found = load(path)
    assert found.active == "production"
    assert list(found.endpoints) == ["production"]
    assert found.endpoint("", {}).signature == ("ann@example.org", "secret")


@pytest.mark.parametrize(
    "text",
    [
        *("active = 1", "active", "endpoints = 3", "[endpoints.d]\nurl = 7", "\0"),
        *('[endpoints.d]\nurl = "ftp://x"', '[endpoints.d]\nurl = "https://x"\ncolour = "red"'),
        '[endpoints."../x"]\nurl = "https://x"',
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        load(path)
    assert "config.toml" in str(error.value) or "address" in str(error.value) or "name" in str(error.value)


def test_a_yaml_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    for text in ("a: [", "[1]", "cloudmesh: 3", "!!python/object/apply:os.system [id]"):
        path.write_text(text)
        with pytest.raises(UsageError):
            load(path)


def test_the_environment_wins(tmp_path: Path) -> None:
    endpoints = {
        "a": Endpoint("a", "https://a.example.org", token="nuc_aaaaaaaa_x"),
        "b": Endpoint("b", "https://b"),
    }
    found = Configuration(tmp_path / "c.toml", "a", endpoints)
    assert found.endpoint("", {}).name == "a"
    assert (
        found.endpoint("", {"COMET_ENDPOINT": "b", "COMET_TOKEN": "nuc_bbbbbbbb_y"}).token == "nuc_bbbbbbbb_y"
    )
    assert found.endpoint("https://c.example.org/nucleus/", {}).url == "https://c.example.org/nucleus"
    assert found.endpoint("https://a.example.org/", {}).token == "nuc_aaaaaaaa_x"
    with pytest.raises(UsageError, match="no endpoint 'c'"):
        found.endpoint("c", {})
    for token in ("nuc_1\r\nHost: x", "nuc_bad"):
        with pytest.raises(AuthenticationError, match="not a whole one"):
            found.endpoint("a", {"COMET_TOKEN": token})


@pytest.mark.parametrize(
    "url",
    ["", "x", "http://n.example.org", "ftp://x", "https://", "https://u:p@x", "https://x/?q", "https://x:y/"],
)
def test_addresses_that_would_leak_a_token_or_mean_nothing_are_refused(url: str) -> None:
    with pytest.raises(UsageError):
        checked_url(url)


def test_a_token_is_not_in_what_is_printed_of_an_endpoint() -> None:
    assert "nuc_" not in repr(Endpoint("a", "https://a", "ann", "nuc_12345678_" + "x" * 43))


def test_a_file_that_cannot_be_written_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.toml"
    save(path, Configuration(path, "a", {"a": Endpoint("a", "https://a")}))
    before = path.read_text()

    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="config.toml cannot be written: No space"):
        save(path, Configuration(path, "b", {"b": Endpoint("b", "https://b")}))
    assert path.read_text() == before
    assert [it.name for it in tmp_path.iterdir()] == ["config.toml"]


# `comet init` and `active` where servers are known already, by our file or by the old client's.


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
