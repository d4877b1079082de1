"""The configuration file, the old client's, the environment, and tokens that others could read."""

import os
from pathlib import Path

import pytest

from comet import AuthenticationError, UsageError
from comet.client.configuration import Configuration, Endpoint, checked_url, load, save

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
