"""The installer reads what the frontend writes, and nothing else."""

import random
from pathlib import Path

import pytest

from rocks.install.installation.plan import plan_installation, plan_text
from tests.install_plans import HOST, SOURCE
from tests.system.installer.shell import Shell

TEXT = plan_text(plan_installation(HOST, SOURCE, "local"))


def _read(shell: Shell, text: str | bytes, script: str = "") -> str:
    (shell.folder / "plan").write_bytes(text.encode() if isinstance(text, str) else text)
    return f"read_plan '{shell.folder}/plan'; {script}"


def test_what_the_frontend_writes_is_read(shell: Shell) -> None:
    values = (
        "host",
        "domain",
        "installation",
        "gateway",
        "overwrite",
        "kernel_arguments",
        "archive",
        "profile",
    )
    script = "; ".join(f'echo "$plan_{name}"' for name in values)
    assert shell.text(_read(shell, TEXT, script)).splitlines() == [
        "compute-0-0",
        "local",
        SOURCE.installation,
        "10.9.0.1",
        "no",
        HOST.attributes["install_kernel_arguments"],
        SOURCE.archive,
        SOURCE.profile,
    ]
    work = shell.folder / "work"
    assert (work / "plan.disks").read_text() == "serial S3Z-1\nserial S3Z-2\n"
    assert (work / "plan.partitions").read_text() == "root 19073 ext4 /\nswap 1907 swap -\npool rest none -\n"
    assert (work / "plan.keys").read_text() == f"{SOURCE.authorized_keys[0]}\n"


def test_a_plan_that_was_cut_off_is_rejected_at_every_length(shell: Shell) -> None:
    script = f"""
    size=$(wc -c <'{shell.folder}/whole'); length=0
    while [ $length -lt $((size - 1)) ]; do
        head -c $length '{shell.folder}/whole' >'{shell.folder}/part'
        if (read_plan '{shell.folder}/part') 2>/dev/null; then echo "accepted: $length"; fi
        length=$((length + 23))
    done; echo looked"""
    (shell.folder / "whole").write_text(TEXT)
    assert shell.text(script) == "looked\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("rocks-install-plan 1", "rocks-install-plan 2", "does not begin with"),
        ("host compute-0-0\n", "", 'no line "host"'),
        ("host compute-0-0\n", "host compute-0-0\nhost compute-0-1\n", "twice"),
        ("host compute-0-0", "host $(reboot)", "not allowed"),
        ("host compute-0-0", "hosts compute-0-0", "unknown"),
        ("host compute-0-0", "host ../../etc", "not allowed"),
        ("disk serial S3Z-1", "disk serial S3Z-1;id", "not allowed"),
        ("disk serial S3Z-1\n", "disk smallest\ndisk smallest\n", "more than 2"),
        ("disk serial S3Z-1\ndisk serial S3Z-2\n", "", 'no line "disk"'),
        ("partition root 19073 ext4 /\n", "", "no partition for /"),
        ("partition root 19073", "partition root 0", "not allowed"),
        ("partition swap 1907", "partition swap rest", "not the last one"),
        ("partition swap 1907", "partition root 1907", "the same name"),
        ("ext4 /\n", "ext4 /../../x y\n", "not allowed"),
        ("overwrite no", "overwrite YES", "not allowed"),
        ("console=tty0", 'console="tty0"', "not allowed"),
        ("https://10.9.0.1/install/root", "http://10.9.0.1/install/root", "not allowed"),
        ("authorized-key ssh-ed25519", 'authorized-key command="id" ssh-ed25519', "not allowed"),
        ("end\n", "end\nend\n", "follows the line"),
        ("end\n", "", "cut off"),
        ("local\n", "lo\x07cal\n", "not plain ASCII"),
    ],
)
def test_other_plans_are_rejected(shell: Shell, old: str, new: str, problem: str) -> None:
    assert old in TEXT
    assert problem in shell.error(_read(shell, TEXT.replace(old, new, 1)))


def test_random_bytes_are_rejected(shell: Shell) -> None:
    generator = random.Random(7)
    for length in (0, 1, 40, 5000, 70_000):
        assert shell.error(_read(shell, generator.randbytes(length)))


def test_the_work_folder_is_the_only_thing_that_a_plan_writes(shell: Shell, tmp_path: Path) -> None:
    shell.text(_read(shell, TEXT))
    assert not list((tmp_path / "target").iterdir())
    assert not list((tmp_path / "dev").iterdir())
