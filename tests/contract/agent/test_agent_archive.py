"""The agent's archive: reproducible, and with exactly the files that the agent needs."""

import tarfile
import zipfile
from pathlib import Path

import pytest

import rocks
from lab import agent_archive
from rocks.core.process import run, run_checked
from rocks.fleet.wire.calls import agent_archive_name
from tests.patience import patience


@pytest.mark.slow
def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    """With the file name in the upgrade command."""
    first, second = agent_archive.build(tmp_path / "a"), agent_archive.build(tmp_path / "b")
    assert first.name == agent_archive_name()
    assert first.read_bytes() == second.read_bytes()
    assert [entry.name for entry in first.parent.iterdir()] == [first.name]


def test_what_is_in_it(tmp_path: Path) -> None:
    """Readable programs, the packages that run on hosts with their byte code, no fakes and no frontend."""
    with tarfile.open(agent_archive.build(tmp_path)) as archive:
        modes = {entry.name: entry.mode for entry in archive.getmembers()}
        archive.extractall(tmp_path)
    assert modes == {
        "lib/rocks-agent.pyz": 0o644,
        "libexec/rocks-agent": 0o755,
        "libexec/rocks-libvirt-hook": 0o755,
        "lib/systemd/rocks-agent.service": 0o644,
        "lib/systemd/rocks-agent.socket": 0o644,
        "lib/systemd/rocks-links.service": 0o644,
    }
    names = zipfile.ZipFile(tmp_path / "lib/rocks-agent.pyz").namelist()
    rooms = {name.split("/")[1] for name in names if name.count("/") > 1}
    assert rooms == {"agent", "core", "fleet", "leases", "machine", "network", "storage"}
    assert not any(name.startswith(("rocks/machine/start.py", "rocks/storage/volumes/")) for name in names)
    assert not any("fake" in name for name in names)
    assert all(name + "c" in names for name in names if name.endswith(".py"))


@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="there is no /usr/bin/python3")
def test_it_runs_by_itself(tmp_path: Path) -> None:
    """With the host's own Python, from any folder, through links, and the hook too."""
    agent_archive.install(tmp_path / "opt")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "opt/libexec/rocks-agent")
    ended = run_checked([str(link), "--version"], deadline_seconds=patience(10))
    assert ended.text == rocks.__version__ + "\n"
    hook = tmp_path / "hook"
    hook.symlink_to(tmp_path / "opt/libexec/rocks-libvirt-hook")
    bad = [str(hook), "a", "prepare", "begin", "-"]
    refused = run(bad, deadline_seconds=patience(10), standard_input=b"<bad")
    assert refused.exit_status == 1 and refused.error_text.startswith("rocks: the domain XML cannot be read")
    let_through = run([str(hook), "a", "stopped", "end", "-"], deadline_seconds=patience(10))
    assert (let_through.exit_status, let_through.error_text) == (0, "")


@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="there is no /usr/bin/python3")
def test_byte_code_of_another_python_does_no_harm(tmp_path: Path) -> None:
    """A host with another Python compiles the sources."""
    agent_archive.install(tmp_path)
    archive = tmp_path / "lib/rocks-agent.pyz"
    spoilt = tmp_path / "spoilt.pyz"
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(spoilt, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, b"\0\0\r\n" + data[4:] if name.endswith(".pyc") else data)
    spoilt.replace(archive)
    program = str(tmp_path / "libexec/rocks-agent")
    assert run_checked([program, "--version"], deadline_seconds=patience(20)).text == rocks.__version__ + "\n"
