"""What a restore keeps of running machines, and two commands that save the site at once."""

from pathlib import Path

from rocks.database.connection import Database
from rocks.site import archive as site_archive
from tests.system.commands.conftest import Site
from tests.system.commands.site.saved.conftest import Machine, save


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
