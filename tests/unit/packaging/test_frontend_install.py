"""The program of the frontend's medium: which commands it runs for a new site, and for one that is there."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.namespace import CHECKOUT
from rocks.core.process import Finished, run
from rocks.install.rolls.signatures import sign_manifest
from tests.gnupg import Keys, gnupg_folder

_SITE = "attr                       value\nKickstart_PrivateHostname: head\n"
_PROGRAM = """set -eu
fail() { echo "Error: $*" >&2; exit 1; }
step() { shift; "$@"; }
env() { shift 2; "$@"; }
runs() { false; }
rocks() {
  echo "rocks $*" >&9
  case "$1 $2" in
    "create site") [ -z "$attributes_there" ] ;;
    "report database") [ "$answers_database" = yes ] || { echo "Error: it is down" >&2; return 1; } ;;
    "report distro") echo "$work/install" ;;
    "update database") updated=yes ;;
    "list attr") [ -n "$updated" ] && printf %s "$attributes_there" ;;
    "create distro") ;;
    list*) [ -n "$updated" ] ;;
  esac
}
exec 9>&1
updated= work=$1 completed=$1/installed-version before=$2 attributes_there=$3 answers_database=$4
version=0.2.0-1 answers=/root/site site= own=$1/etc medium=$1 unsigned= saved= again="sh install" restored=$1/restores
: >"$work/given"
"""


def _run(folder: Path, before: str, attributes: str, answers: str = "yes") -> tuple[Finished, list[str]]:
    """Run the part for the site; the database is of another version until it is updated."""
    text = (CHECKOUT / "roll/frontend/install").read_text("utf-8").partition("# --- the site\n")[2]
    text = text.replace("[ -d /run/systemd/system ]", "false").replace("9>&-", "")
    arguments = ["sh", "-c", _PROGRAM + text, "install", str(folder), before, attributes, answers]
    done = run(arguments, deadline_seconds=60)
    return done, [line for line in done.text.splitlines() if line.startswith("rocks ")]


def test_an_upgrade_updates_the_database_and_enters_no_site(tmp_path: Path) -> None:
    """Also if the new programs cannot read the database before; a copy is made in any case."""
    done, commands = _run(tmp_path, "0.1.0-1", _SITE)
    assert done.exit_status == 0, done.error_text
    assert "rocks update database backup=yes" in commands and "rocks check site" in commands
    assert "rocks create site answers=/root/site" in commands, (
        "it prints how the answers differ, and changes nothing"
    )
    assert commands.index("rocks create distro") < commands.index("rocks add host certificate head")
    assert commands.index("rocks sync broker") < commands.index("rocks report host profile head")
    assert (tmp_path / "installed-version").read_text() == "0.2.0-1\n"


def test_a_repetition_makes_no_further_copy(tmp_path: Path) -> None:
    _, commands = _run(tmp_path, "0.2.0-1", _SITE)
    assert "rocks update database" in commands


@pytest.mark.parametrize("before", ["", "0.1.0-1"])
def test_a_database_without_a_site_gets_one(tmp_path: Path, before: str) -> None:
    """Also after an interruption between the packages and the site."""
    assert "rocks create site answers=/root/site" in _run(tmp_path, before, "")[1]


def test_a_database_that_does_not_answer_ends_it(tmp_path: Path) -> None:
    done, commands = _run(tmp_path, "", "", answers="no")
    assert done.exit_status == 1 and done.error_text.startswith("Error: it is down; then run ")
    assert set(commands) == {"rocks report database"}


@pytest.mark.parametrize(
    ("files", "error", "status"),
    [
        ("debian-12.img.zst", "", 0),
        ("there.img.zst", "", 0),
        ("full.img.zst", "no space", 1),
        ("README", "has no roll and no image", 1),
    ],
)
def test_an_iso_without_rolls_has_images(tmp_path: Path, files: str, error: str, status: int) -> None:
    """One that the site has stays, and another failure ends the installation."""
    text = (CHECKOUT / "roll/frontend/install").read_text("utf-8")
    functions = "use_images() {" + text.partition("\nuse_images() {")[2].partition("# add_rolls ISO")[0]
    program = f"""set -eu
work={tmp_path} again="sh install" unsigned=
fail() {{ echo "Error: $*" >&2; exit 1; }}
step() {{ shift; "$@" >"$work/log" || fail "$(cat "$work/log")"; }}
mount() {{ touch "$4/{files}"; }}
umount() {{ echo unmounted; }}
rocks() {{
  echo "$*" >>"$work/commands"
  case $3 in there) echo "Error: there is an image there already"; false ;; full) echo "Error: no space"; false ;; esac
}}
{functions}
use_images /root/guest.iso
"""
    done = run(["sh", "-c", program], deadline_seconds=60)
    assert done.exit_status == status and error in done.error_text, done.error_text
    if files != "README":
        name = files.partition(".")[0]
        assert (tmp_path / "commands").read_text() == f"add image {name} file={tmp_path}/images/{files}\n"


@pytest.mark.parametrize("signal", ["HUP", "INT", "TERM"])
def test_an_interrupted_installation_removes_what_holds_the_broker_back(signal: str) -> None:
    """Also if the connection ends over which it runs."""
    text = (CHECKOUT / "roll/frontend/install").read_text("utf-8")
    traps = [line for line in text.splitlines() if line.startswith("trap ")]
    program = ["finish() { echo finished; }", *traps, f"kill -{signal} $$", "sleep 5", "echo went on"]
    # a shell cannot trap what was ignored when it began, as HUP is below nohup
    shell = ["env", "--default-signal=HUP,INT,TERM", "sh", "-c"]
    done = run([*shell, "\n".join(program)], deadline_seconds=60)
    assert done.text == "finished\n" and done.exit_status != 0


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's file is made by root")
def test_an_os_roll_of_another_user_beside_the_medium_is_not_taken(tmp_path: Path) -> None:
    """Its commands would become root's, and every user can write to /tmp."""
    text = (CHECKOUT / "roll/frontend/install").read_text("utf-8")
    program = text.partition('if [ -z "$os_roll" ]; then\n')[2].partition("exec 9>")[0]
    (tmp_path / "medium").mkdir()
    for path in (tmp_path / "medium/install", tmp_path / "os-1.iso", tmp_path / "os-2.iso"):
        path.touch()
    os.chown(tmp_path / "os-2.iso", 1000, 1000)
    (tmp_path / "os-3.iso").symlink_to(tmp_path / "os-1.iso")
    os.chown(tmp_path / "os-3.iso", 1000, 1000, follow_symlinks=False)

    begin = f'set -eu; medium={tmp_path}/medium os_roll=; fail() {{ echo "$*"; exit 1; }}; if true; then\n'
    done = run(["sh", "-c", f'{begin}{program}echo "$os_roll"'], deadline_seconds=60)
    assert done.text == f"{tmp_path}/os-1.iso\n", done.error_text
    assert "os-2.iso is another user's" in done.error_text and "os-3.iso is another" in done.error_text


@pytest.fixture(scope="module")
def gnupg() -> Iterator[Keys]:
    """Two keys, `site` and `other`."""
    for program in ("gpg", "gpgv"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: tools/setup test")
    with gnupg_folder() as keys:
        keys.make("site")
        keys.make("other")
        yield keys


def _medium(folder: Path, monkeypatch: pytest.MonkeyPatch, keys: Keys, signer: str = "") -> Path:
    """A medium with one roll, signed or not; beside it the site's empty folder of keys."""
    (folder / "keys").mkdir()
    place = folder / "medium/signatures/hello-1.0-x86_64"
    place.mkdir(parents=True)
    (place / "SHA256SUMS").write_text(f"{'0' * 64}  roll-hello.xml\n")
    if signer:
        monkeypatch.setenv("GNUPGHOME", str(keys.folder))
        sign_manifest(place, f"{signer}@example.org", 1_700_000_000)
    return place


def _check_signatures(folder: Path, unsigned: str = "", begin: str = "") -> Finished:
    """The check of the program, on the medium and the keys in the folder, after `begin`."""
    text = (CHECKOUT / "roll/frontend/install").read_text("utf-8")
    functions = "# rolls_on ISO" + text.partition("# rolls_on ISO")[2].partition("\nfinish() {")[0]
    (folder / "work").mkdir(exist_ok=True)
    (folder / "work/given").touch()
    places = f"work={folder}/work medium={folder}/medium keys={folder}/keys site="
    begin += f"set -eu; {places} unsigned={unsigned} again='sh install'\n"
    fail = 'fail() { echo "Error: $*" >&2; exit 1; }\nexec 9>/dev/null\n'
    return run(["sh", "-c", f"{begin}{fail}{functions}\ncheck_signatures"], deadline_seconds=120)


def test_rolls_are_checked_where_the_site_has_keys_before_anything_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gnupg: Keys
) -> None:
    """As `rocks add roll` does later: a good signature of a key of the site, or none and unsigned=yes."""
    place = _medium(tmp_path, monkeypatch, gnupg)
    assert _check_signatures(tmp_path).exit_status == 0, "a site without keys takes every roll"

    (tmp_path / "keys/site.asc").write_bytes(
        gnupg.gpg("--armor", "--export", "other@example.org")
        + gnupg.gpg("--armor", "--export", "site@example.org")
    )
    refused = _check_signatures(tmp_path)
    assert refused.exit_status == 1
    assert "the roll hello-1.0-x86_64 is not signed" in refused.error_text
    assert "unsigned=yes" in refused.error_text and "make frontend-iso KEY=KEY" in refused.error_text
    assert _check_signatures(tmp_path, "yes").exit_status == 0

    monkeypatch.setenv("GNUPGHOME", str(gnupg.folder))
    sign_manifest(place, "site@example.org", 1_700_000_000)
    assert _check_signatures(tmp_path).exit_status == 0, "the second key of the file has signed it"
    (tmp_path / "keys/site.asc").unlink()
    (tmp_path / "keys/site.gpg").write_bytes(gnupg.gpg("--export", "site@example.org"))
    assert _check_signatures(tmp_path).exit_status == 0

    (place / "SHA256SUMS").write_text(f"{'1' * 64}  roll-hello.xml\n")
    for unsigned in ("", "yes"):
        altered = _check_signatures(tmp_path, unsigned)
        assert altered.exit_status == 1 and "verifies the signature of the roll hello" in altered.error_text


def test_a_new_machine_without_gpgv_leaves_signatures_to_the_command_that_adds_rolls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gnupg: Keys
) -> None:
    """Debian 13's minimal root has none. That a roll is not signed is seen without it."""
    without = 'command() { [ "$2" != gpgv ]; }; gpgv() { return 127; }\n'
    place = _medium(tmp_path, monkeypatch, gnupg, "site")
    (tmp_path / "keys/site.gpg").write_bytes(gnupg.gpg("--export", "site@example.org"))
    assert _check_signatures(tmp_path, begin=without).exit_status == 0
    (place / "SHA256SUMS.asc").unlink()
    refused = _check_signatures(tmp_path, begin=without)
    assert refused.exit_status == 1 and "is not signed" in refused.error_text


def test_a_roll_of_another_s_key_and_a_file_that_is_no_key_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gnupg: Keys
) -> None:
    _medium(tmp_path, monkeypatch, gnupg, "other")
    key = tmp_path / "keys/site.asc"
    key.write_bytes(gnupg.gpg("--armor", "--export", "site@example.org").replace(b"\n", b"\r\n"))
    for unsigned in ("", "yes"):
        refused = _check_signatures(tmp_path, unsigned)
        assert refused.exit_status == 1 and "no key in " in refused.error_text
    key.write_text("no key\n")
    refused = _check_signatures(tmp_path)
    assert refused.exit_status == 1 and f"{key} is not a public key" in refused.error_text
