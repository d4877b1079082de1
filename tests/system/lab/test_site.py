"""A site is brought up and taken down from any state, and leaves nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import database, libvirtd, links
from lab.processes import end
from lab.progress import Progress
from lab.site import Site, SiteState
from rocks.core.errors import StateError
from tests.system.lab.conftest import assert_nothing_is_left


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the sites of all tests remember whether KVM works."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def site(machines_folder: Path, cache: Path) -> Iterator[Site]:
    """A site that does not run; taken down afterwards."""
    site = Site(machines_folder / "site", cache)
    yield site
    site.tear_down()
    assert site.state() is SiteState.STOPPED
    assert_nothing_is_left(site.machine)
    assert not site.folder.exists()


def quiet() -> Progress:
    return Progress(lambda line: None)


def kill(site: Site, name: str) -> None:
    process = site.machine.daemon(name)
    assert process is not None
    end([process], grace_seconds=0)


def test_a_site_comes_up_and_up_again_is_nothing_new(site: Site) -> None:
    assert site.state() is SiteState.STOPPED
    site.bring_up(quiet())
    assert site.state() is SiteState.RUNNING
    before = set(site.machine.members())  # libvirtd may just have one more
    site.bring_up(quiet())
    assert set(site.machine.members()) <= before and site.state() is SiteState.RUNNING
    answer = site.rocks(["update", "database"], 60)
    assert answer.exit_status == 0, answer.error_text
    assert site.rocks(["list", "host"], 60).exit_status == 0


@pytest.mark.parametrize("victims", [["mariadbd"], ["libvirtd"], ["virtlogd", "libvirtd"]])
def test_killed_daemons_are_started_again(site: Site, victims: list[str]) -> None:
    site.bring_up(quiet())
    for victim in victims:
        kill(site, victim)
    assert site.state() is SiteState.UNKNOWN
    site.bring_up(quiet())
    assert site.state() is SiteState.RUNNING
    site.machine.run_checked(["/usr/bin/virsh", "-c", "qemu:///system", "list"], 30)


def test_a_site_whose_init_process_was_killed_is_built_anew_with_its_data(site: Site) -> None:
    site.bring_up(quiet())
    assert site.rocks(["update", "database"], 60).exit_status == 0
    init = site.machine.init()
    assert init is not None
    end([init], grace_seconds=0)
    site.bring_up(quiet())
    assert site.state() is SiteState.RUNNING
    assert site.rocks(["list", "network"], 60).exit_status == 0


def test_everything_killed_at_once_is_taken_down_all_the_same(site: Site) -> None:
    site.bring_up(quiet())
    site.machine.in_network(lambda: links.ensure_bridge("rockstest0", "made by a test"))
    end(site.machine.members(), grace_seconds=0)
    assert any(line.startswith("removed ") for line in site.tear_down())
    assert site.tear_down() == []


def test_a_half_started_site_is_taken_down(site: Site) -> None:
    site.folder.mkdir()
    (site.folder / "made-by-rocks-lab").touch()
    site.machine.start()
    database.start(site.machine)
    assert not libvirtd.is_running(site.machine) and site.state() is SiteState.UNKNOWN
    assert "ended mariadbd" in site.tear_down()


def test_a_folder_of_another_user_is_neither_used_nor_removed(machines_folder: Path, tmp_path: Path) -> None:
    folder = machines_folder / "precious"
    folder.mkdir()
    (folder / "file").write_text("precious")
    site = Site(folder, tmp_path / "cache")
    with pytest.raises(StateError, match="left alone"):
        site.bring_up(quiet())
    assert any("left" in line and "alone" in line for line in site.tear_down())
    assert (folder / "file").read_text() == "precious"
