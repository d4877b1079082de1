"""The program of the first boot runs the profile that the frontend gives, or that the installer left."""

from pathlib import Path

import pytest

from rocks.core.process import Finished, run
from rocks.install.graph.profile import Profile
from rocks.install.graph.shell import shell_script
from rocks.install.graph_files import first_boot_files

_FUNCTIONS = 'rocks_begin() { :; }\nrocks_end() { echo "profile of $ROCKS_HOST"; }\n'
_WGET = """#!/bin/sh
echo "$*" >>REPORTS.arguments
while [ $# -gt 0 ]; do
  [ "$1" != -O ] || output=$2
  case $1 in
    --post-file=*) cat "${1#*=}" >>REPORTS; echo >>REPORTS ;;
    --input-file=*) address=$(cat "${1#*=}") ;;
  esac
  shift
done
[ ! -e REPORTS.unreachable ] || exit 4
[ "$address" != https://head/profile ] || cat PROFILE >"$output"
"""


class Installed:
    """An installed host whose folders are in `folder`, and whose frontend is a program `wget`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, folder / "state"
        self.reports, self.log = folder / "reports", folder / "log"
        wget = folder / "wget"
        wget.write_text(_WGET.replace("REPORTS", str(self.reports)).replace("PROFILE", str(folder / "given")))
        (folder / "systemctl").write_text(f'#!/bin/sh\necho "$*" >>{folder}/systemctl.calls\n')
        for program in (wget, folder / "systemctl"):
            program.chmod(0o755)

    def boot(self, *shell: str) -> Finished:
        """Run the program, by the command whose last argument it becomes."""
        text = first_boot_files().program.replace("/etc/rocks/installation", str(self.folder))
        for path, mine in (
            ("/var/lib/rocks/first-boot", self.state),
            ("/var/log/rocks-first-boot.log", self.log),
            ("/run/rocks-reboot-needed", self.folder / "reboot-needed"),
        ):
            text = text.replace(path, str(mine))
        return run(
            [*(shell or ("sh", "-c")), text],
            deadline_seconds=60,
            environment={"PATH": f"{self.folder}:/usr/bin:/bin"},
        )


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    return Installed(tmp_path)


@pytest.fixture
def served(installed: Installed) -> Installed:
    """The installer left addresses of the frontend, which has a profile."""
    (installed.folder / "given").write_text(shell_script(Profile("compute-0-0", ()), _FUNCTIONS, "deb"))
    (installed.folder / "profile").write_text("https://head/profile")
    (installed.folder / "progress").write_text("https://head/progress")
    return installed


def test_a_profile_is_fetched_executed_and_reported(served: Installed) -> None:
    """It is a script of bash."""
    done = served.boot()
    assert done.exit_status == 0, done.error_text
    assert "profile of compute-0-0\n" in done.text
    assert served.log.read_text() == "profile of compute-0-0\n"
    assert served.reports.read_text().splitlines()[-1] == "configured"
    assert (served.state / "complete").exists() and not (served.state / "profile").exists()
    assert not (served.folder / "systemctl.calls").exists()


def test_no_other_user_sees_the_addresses(served: Installed) -> None:
    assert served.boot().exit_status == 0
    arguments = served.reports.with_suffix(".arguments").read_text()
    assert "--post-file" in arguments and "https://head" not in arguments


def test_a_profile_that_the_installer_left_needs_no_frontend(installed: Installed) -> None:
    installed.state.mkdir()
    (installed.state / "profile").write_text(shell_script(Profile("h1", ()), _FUNCTIONS, "rpm"))
    done = installed.boot()
    assert done.exit_status == 0, done.error_text
    assert "profile of h1\n" in done.text
    assert not installed.reports.exists()
    assert (installed.state / "complete").exists()


def test_a_failure_names_its_reason_and_the_log_and_is_repeated(served: Installed) -> None:
    given = served.folder / "given"
    whole = given.read_text()
    given.write_text("echo 'Error: h1: no packages' >&2\nexit 1\nrocks_profile </dev/null\n")
    failed = served.boot()
    assert failed.exit_status == 1
    assert "the profile failed: Error: h1: no packages; its messages are in" in failed.error_text
    assert "systemctl restart rocks-first-boot" in failed.error_text
    assert "no packages" in served.log.read_text()
    assert served.reports.read_text().splitlines()[-1].startswith("first-boot-failed the profile failed")
    assert not (served.state / "complete").exists()

    given.write_text("echo unfinished >&2\nexit 1\nrocks_profile </dev/null\n")
    other = served.boot()
    assert other.exit_status == 1
    assert "Error: the profile failed; its messages are in" in other.error_text

    (served.folder / "reports.unreachable").touch()
    silent = served.boot()
    assert silent.exit_status == 1 and "cannot be fetched from the frontend" in silent.error_text

    (served.folder / "reports.unreachable").unlink()
    given.write_text(whole)
    assert served.boot().exit_status == 0


def test_the_report_of_a_configured_host_is_repeated_until_the_frontend_is_reached(served: Installed) -> None:
    """Also by a later boot; the profile is not executed again."""
    left = served.folder / "left"
    left.write_text(shell_script(Profile("compute-0-0", ()), _FUNCTIONS, "deb"))
    (served.folder / "profile").unlink()
    served.state.mkdir()
    (served.state / "profile").write_bytes(left.read_bytes())
    unreachable, pause = served.folder / "reports.unreachable", served.folder / "sleep"
    unreachable.touch()
    pause.write_text("#!/bin/sh\n")
    pause.chmod(0o755)
    silent = served.boot()
    assert silent.exit_status == 1 and "profile of compute-0-0" in silent.text
    assert "is configured, but the frontend was not reached" in silent.error_text
    assert not (served.state / "complete").exists()

    pause.write_text(f"#!/bin/sh\nrm -f {unreachable}\n")  # the network comes while it waits
    served.reports.unlink()
    done = served.boot()
    assert done.exit_status == 0, done.error_text
    assert served.reports.read_text().splitlines() == ["configured", "configured"]
    assert "profile of" not in done.text and (served.state / "complete").exists()


def test_a_profile_that_was_cut_off_does_nothing(served: Installed) -> None:
    given = served.folder / "given"
    given.write_text(given.read_text().rpartition("rocks_profile <")[0])
    cut = served.boot()
    assert "profile of" not in cut.text
    assert cut.exit_status == 1 and not (served.state / "complete").exists()


def test_what_takes_effect_at_a_boot_is_followed_by_one_and_the_host_is_configured_after_it(
    served: Installed,
) -> None:
    """Who reads that it is configured may use its network devices."""
    needed = served.folder / "reboot-needed"
    needed.write_text("the network devices of h1\n")
    done = served.boot()
    assert done.exit_status == 0, done.error_text
    assert "the network devices of h1 take effect by a restart" in done.text
    assert (served.folder / "systemctl.calls").read_text() == "--no-block reboot\n"
    assert served.reports.read_text().splitlines()[-1] == "first-boot restarts for the network devices of h1"
    assert not (served.state / "complete").exists() and not (served.state / "profile").exists()

    needed.unlink()  # /run is empty after a boot
    (served.folder / "given").unlink()
    back = served.boot()
    assert back.exit_status == 0, back.error_text
    assert "profile of" not in back.text
    assert served.reports.read_text().splitlines()[-1] == "configured"
    assert (served.state / "complete").exists() and not (served.state / "restarting").exists()


def test_a_restart_that_did_not_happen_is_asked_for_again(served: Installed) -> None:
    (served.folder / "reboot-needed").write_text("the network devices of h1\n")
    for attempt in (1, 2):
        assert served.boot().exit_status == 0
        assert (served.folder / "systemctl.calls").read_text() == "--no-block reboot\n" * attempt
    assert not (served.state / "complete").exists()
