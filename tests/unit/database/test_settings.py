"""The sources of the database's settings, and invalid settings."""

from pathlib import Path

import pytest

from rocks.core.errors import StateError, UserError
from rocks.database.settings import EMBEDDED_SOCKET, Settings, read_settings


@pytest.fixture(autouse=True)
def no_files_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("rocks.database.settings.SETTINGS_FILE", str(tmp_path / "absent.conf"))
    monkeypatch.setattr("rocks.database.settings.PASSWORD_FILES", {"root": str(tmp_path / "absent.cnf")})


def write(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return str(path)


def test_defaults_are_those_of_the_embedded_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert read_settings({}) == Settings(EMBEDDED_SOCKET, "localhost", 3306, "root", "", "cluster")


def test_the_embedded_instance_is_where_the_launcher_looks_for_it() -> None:
    launcher = Path(__file__).resolve().parents[3] / "bin" / "rocks"
    assert f'"$state/root{EMBEDDED_SOCKET}"' in launcher.read_text(encoding="utf-8")


def test_user_without_a_name_is_identified_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 64999)
    assert read_settings({}).user == "64999"


def test_environment_before_file_before_defaults(tmp_path: Path) -> None:
    text = "# ours\n\nsocket = /run/other.sock\ndatabase=site\n user = reader \n"
    file = write(tmp_path / "database.conf", text, 0o644)
    from_file = read_settings({}, file)
    assert (from_file.socket, from_file.database, from_file.user) == ("/run/other.sock", "site", "reader")
    both = read_settings({"ROCKS_DATABASE_FILE": file, "ROCKS_DATABASE_NAME": "third"})
    assert (both.socket, both.database, both.user) == ("/run/other.sock", "third", "reader")


def test_host_of_higher_precedence_overrides_a_socket(tmp_path: Path) -> None:
    file = write(tmp_path / "database.conf", "socket=/run/other.sock\n")
    settings = read_settings({"ROCKS_DATABASE_HOST": "db", "ROCKS_DATABASE_PORT": "3307"}, file)
    assert (settings.socket, settings.place) == (None, "db:3307")


def test_socket_and_host_in_one_source_means_the_socket_when_it_exists(tmp_path: Path) -> None:
    socket = tmp_path / "mysql.sock"
    file = write(tmp_path / "database.conf", f"host = db\nsocket = {socket}\n")
    assert read_settings({}, file).place == "db:3306"
    socket.touch()
    assert read_settings({}, file).place == str(socket)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("sokket = /x", "'sokket = /x' is not one of socket, host"),
        ("socket", "'socket' is not one of"),
        ("port = 0", "'0': a number from 1 to 65535"),
        ("port = 65536", "'65536': a number"),
        ("port = ３", "'３': a number"),
        ("database = a`b", "'a`b' cannot name"),
        ("database = a;b", "'a;b' cannot name"),
        ("database = " + "a" * 65, "cannot name"),
    ],
)
def test_the_error_names_the_wrong_line(tmp_path: Path, line: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        read_settings({}, write(tmp_path / "database.conf", line + "\n"))


def test_named_file_must_exist_and_be_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.conf does not exist"):
        read_settings({"ROCKS_DATABASE_FILE": str(tmp_path / "absent.conf")})
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        read_settings({}, str(tmp_path / "binary"))
    with pytest.raises(UserError, match="cannot read .* Is a directory"):
        read_settings({}, str(tmp_path))


def test_password_comes_from_the_users_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "my.cnf", "password = with = and blank \nother = x\n")
    monkeypatch.setattr("rocks.database.settings.PASSWORD_FILES", {"root": path})
    assert read_settings({"ROCKS_DATABASE_USER": "root"}).password == "with = and blank"
    assert read_settings({"ROCKS_DATABASE_USER": "somebody"}).password == ""
    named = write(tmp_path / "named", "password=b\n")
    both = {"ROCKS_DATABASE_USER": "root", "ROCKS_DATABASE_PASSWORD_FILE": named}
    assert read_settings(both).password == "b"


def test_password_of_the_settings_file_needs_no_other_file(tmp_path: Path) -> None:
    assert read_settings({}, write(tmp_path / "database.conf", "password = secret\n")).password == "secret"


def test_password_that_others_can_read_raises_an_error_without_it(tmp_path: Path) -> None:
    for variable, text in (("FILE", "password = s3cret\n"), ("PASSWORD_FILE", "password = s3cret\n")):
        path = write(tmp_path / variable, text, 0o640)
        with pytest.raises(StateError, match=f"chmod 600 {path}") as caught:
            read_settings({f"ROCKS_DATABASE_{variable}": path})
        assert "s3cret" not in str(caught.value)


def test_invalid_password_file_raises_an_error_without_its_content(tmp_path: Path) -> None:
    path = write(tmp_path / "my.cnf", "s3cret\n")
    with pytest.raises(UserError, match="must be `password") as caught:
        read_settings({"ROCKS_DATABASE_PASSWORD_FILE": path})
    assert "s3cret" not in str(caught.value)
