"""The settings of Nucleus."""

from pathlib import Path

import pytest

from nucleus.configuration import Configuration, read_configuration
from rocks.core.errors import UserError


def _file(folder: Path, text: str) -> Path:
    path = folder / "nucleus.toml"
    path.write_text(text, "utf-8")
    return path


def test_without_a_file_the_defaults_hold() -> None:
    assert read_configuration(environment={}) == Configuration()


def test_the_environment_precedes_the_file(tmp_path: Path) -> None:
    path = _file(tmp_path, "[poll]\npower_seconds = 5\n[batch]\nhosts = ['n-[0-1],n-0', 'x']\n")
    found = read_configuration(path, {"NUCLEUS_POLL_POWER_SECONDS": "2.5", "NUCLEUS_WORK_PER_HOST": "3"})
    assert found.poll.power_seconds == 2.5 and found.work.per_host == 3
    assert found.batch.hosts == ["n-0", "n-1", "x"]
    assert read_configuration(path, {"NUCLEUS_BATCH_HOSTS": "a[1,3],b"}).batch.hosts == ["a1", "a3", "b"]
    assert read_configuration(path, {"NUCLEUS_BATCH_HOSTS": "a[1-2],a1"}).batch.hosts == ["a1", "a2"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[pol]\n", "'pol'"),
        ("[poll]\npower = 1\n", "'power'"),
        ("[poll]\npower_seconds = 'x'\n", "power_seconds"),
        ("[poll]\npower_seconds = -1\n", "power_seconds"),
        ("[poll]\npower_seconds = nan\n", "power_seconds"),
        ("[work]\nthreads = true\n", "threads"),
        ("[batch]\nhosts = 'a'\n", "hosts"),
        ("[batch]\nhosts = ['a[']\n", "list of hosts"),
        ("[batch]\nkind = 'slurm'\n", "a partition"),
        ("[batch]\nkind = 'slurm'\npartition = '--all'\n", "a partition"),
        ("[batch]\nkind = 'slurm'\npartition = 'virt'\nhosts = ['a']\n", "hosts is for"),
        ("[batch]\npartition = 'virt'\n", "partition is for"),
        ("[batch]\nmost_walltime_minutes = 10000000\n", "from 1 to 9999999, and not 10000000"),
        ("[executor]\nkind = 'ssh'\n", "local, socket"),
        ("poll = 3\n", r"\[poll\]"),
        ("[poll\n", "not TOML"),
    ],
)
def test_a_wrong_file_is_refused_by_what_is_wrong(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(UserError, match=named):
        read_configuration(_file(tmp_path, text), {})


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="NUCLEUS_WORK_THREADS"):
        read_configuration(environment={"NUCLEUS_WORK_THREADS": "many"})
    with pytest.raises(UserError, match="does not exist"):
        read_configuration(environment={"NUCLEUS_FILE": str(tmp_path / "absent")})
