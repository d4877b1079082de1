"""`pragma` and `pragma_boot` call `rocks pragma`; the calls are those of the published talks and scripts."""

import os
import subprocess  # noqa: TID251 - the programs as users start them
from pathlib import Path

import pytest

INCLUDE = Path(__file__).resolve().parents[3] / "roll" / "pragma" / "include"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """`rocks` of this environment prints its arguments, one a line."""
    rocks = tmp_path / "rocks"
    rocks.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    rocks.chmod(0o755)
    return {**os.environ, "HOME": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}


def called(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [INCLUDE / arguments[0], *arguments[1:]],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("pragma boot hku_biolinux 16", "pragma boot hku_biolinux 16"),
        ("pragma list repository", "pragma list repository"),
        ("pragma help", "help pragma"),
        ("pragma help list cluster", "help pragma list cluster"),
        ("pragma list help", "list help subdir=pragma/"),
        ("pragma list help subdir=list cols=0", "list help subdir=pragma/list cols=0"),
        ("pragma_boot -vcname dock6 -num_cpus 4", "pragma boot vc=dock6 cpus=4"),
        ("pragma_boot --vcname dock6", "pragma boot vc=dock6 cpus=0"),
        ("pragma_boot --vcname=dock6 --num_cpus=4 -v", "pragma boot vc=dock6 cpus=4"),
        ("pragma_boot --list", "pragma list repository"),
        ("pragma_boot -list", "pragma list repository"),
        (
            "pragma_boot --vcname d --key a.pub --logfile /tmp/l -d",
            "pragma boot vc=d cpus=0 key=/a.pub logfile=/tmp/l dry-run=yes",
        ),
    ],
)
def test_what_is_called(environment, typed, expected):
    done = called(environment, *typed.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == expected.split()


def test_the_default_key_is_that_of_who_types(environment, tmp_path):
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/id_rsa.pub").touch()
    key = f"key={tmp_path}/.ssh/id_rsa.pub"
    typed = "pragma_boot", "-vcname", "d"
    assert called(environment, *typed).stdout.split() == ["pragma", "boot", "vc=d", "cpus=0", key]
    assert called(environment, *typed, "-key", "/b.pub").stdout.split()[4:] == ["key=/b.pub"]


def test_a_blank_in_an_argument_stays_there(environment):
    assert called(environment, "pragma", "boot", "a b").stdout == "pragma\nboot\na b\n"


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("pragma_boot", "--vcname NAME is needed"),
        ("pragma_boot --vcname d --enable-ipop-server=x", "IPOP is not supported"),
        ("pragma_boot --vcname d --base_path /x", "rocks set attr pragma_repository"),
        ("pragma_boot --vcname d -basepath /x", "rocks set attr pragma_repository"),
        ("pragma_boot --vcn d", "unrecognized arguments"),
    ],
)
def test_what_is_refused(environment, typed, text):
    done = called(environment, *typed.split())
    assert done.returncode != 0
    assert done.stdout == ""
    assert text in done.stderr
