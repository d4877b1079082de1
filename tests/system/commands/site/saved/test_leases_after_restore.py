"""What a restore keeps of running machines, and two commands that save the site at once."""

from pathlib import Path
from typing import Any

import pytest

from rocks.core.errors import StateError
from rocks.database.connection import Database
from rocks.leases.fences import check_addition
from rocks.site import archive as site_archive
from rocks.site.restore import unfinished_restore
from tests.system.commands.conftest import Site
from tests.system.commands.site.saved.conftest import Machine, save


@pytest.mark.slow
def test_what_running_machines_have_of_their_hosts_outlives_a_restore(
    old: Machine, new: Machine, site: Site, secret: str, tmp_path: Path
) -> None:
    """Their disks, cores and functions: a second machine would get the same. What a released lease had is free."""
    lease = "INSERT INTO {}.vm_leases (Name, Token, Host, State) VALUES ('{}', 7, {}, '{}')"
    disk = "INSERT INTO {}.vm_lease_disks (ID, Host, Path, Name) VALUES (9001, 'h', '/{}', '{}')"
    core = "INSERT INTO {}.vm_core_leases (Host, Cpu, Name, Token) VALUES ('h', {}, '{}', 7)"
    here, there = old.settings.database, new.settings.database
    for schema, name, cpu in ((here, "vm-old", 1), (there, "vm-new", 2)):
        site.change(lease.format(schema, name, "'h'", "running"))
        site.change(disk.format(schema, name, name))
        site.change(core.format(schema, cpu, name))
    site.change(lease.format(here, "vm-both", "'h'", "running"))
    site.change(core.format(here, 3, "vm-both"))
    site.change(lease.format(there, "vm-both", "NULL", "released"))
    saved = save(old, site, secret, tmp_path / "leases.saved")
    new.use()
    site.done("restore site", str(saved), secret, "overwrite=yes")
    with Database(new.settings) as database:
        disks = database.rows("SELECT Name, Path FROM vm_lease_disks WHERE Host = 'h' ORDER BY Name")
        cores = database.rows("SELECT Name, Cpu FROM vm_core_leases WHERE Host = 'h' ORDER BY Name")
    assert [tuple(row) for row in disks] == [("vm-new", "/vm-new"), ("vm-old", "/vm-old")]
    assert [tuple(row) for row in cores] == [("vm-new", 2), ("vm-old", 1)]


def test_nothing_is_added_to_a_copy_from_before_the_first_lease(
    old: Machine, new: Machine, site: Site, secret: str, tmp_path: Path
) -> None:
    """A machine of after the copy may run: a new one could get its VLAN and MAC addresses."""
    with Database(old.settings) as database:
        assert database.rows("SELECT Serial FROM lease_epoch") == [(0,)]
    saved = save(old, site, secret, tmp_path / "early.saved")
    new.use()
    site.done("restore site", str(saved), secret, "overwrite=yes")
    with Database(new.settings) as database, pytest.raises(StateError, match="nothing is added"):
        check_addition(database, ["green"])


def test_a_site_is_saved_by_one_command_at_a_time(
    old: Machine, site: Site, secret: str, tmp_path: Path
) -> None:
    """Both would give their copies one name, and store each other's."""
    site.patch.setattr(site_archive, "_LOCK_SECONDS", 0.1)
    with Database(old.settings) as other:
        other.lock("save site", 1.0)
        refused = site.rocks("save site", f"file={tmp_path / 'second'}", secret)
    assert refused.status == 1 and "another command is at work on save site" in refused.err, refused
    assert not (tmp_path / "second").exists()
    save(old, site, secret, tmp_path / "second")


def test_a_file_that_another_command_has_saved_meanwhile_stays(
    old: Machine, site: Site, secret: str, tmp_path: Path
) -> None:
    """Both began in one second, in which the file has one name; the second one has waited."""
    path, collect = tmp_path / "site.saved", site_archive.collect_site

    def slow(*given: Any) -> None:
        path.write_bytes(b"of the first")
        collect(*given)

    site.patch.setattr(site_archive, "collect_site", slow)
    assert f"{path} exists; give another file" in site.rocks("save site", f"file={path}", secret).err
    assert path.read_bytes() == b"of the first"


def test_a_restore_that_found_rows_in_use_was_not_begun(
    saved: Path, new: Machine, site: Site, secret: str
) -> None:
    """Else the next one would replace a site without overwrite=yes."""
    new.use()
    site.change(f"INSERT INTO {new.settings.database}.nodes (Name) VALUES ('newer')")
    restore = ("restore site", str(saved), secret)
    site.patch.setattr("rocks.database.blockers.ATTEMPTS", 1)
    with Database(new.settings) as other:
        other.execute("UPDATE nodes SET Name = 'newest' WHERE Name = 'newer'")
        busy = site.rocks(*restore, "overwrite=yes")
    assert busy.status == 1 and "another command" in busy.err, busy
    assert unfinished_restore(new.settings) == ""
    refused = site.rocks(*restore)
    assert refused.status == 1 and "overwrite=yes" in refused.err


def test_what_a_link_leads_to_is_named_as_not_saved(
    old: Machine, site: Site, secret: str, tmp_path: Path
) -> None:
    """As nodes of a site in a checkout of its own. Links of rolls are not the site's."""
    (old.etc / "trees.d").mkdir()
    (old.etc / "trees.d/kvm").symlink_to(tmp_path)
    saved = site.rocks("save site", f"file={tmp_path / 'site.saved'}", secret)
    assert [line for line in saved.err.splitlines() if "link" in line] == [
        f"not in it: what the link {old.etc / 'link'} leads to"
    ]
