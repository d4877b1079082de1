"""What the installer leaves for the first boot."""

from tests.system.installer.shell import Shell


def test_only_root_reads_the_addresses_of_profile_and_reports(shell: Shell) -> None:
    """Who has them gets the profile, with secrets of node files, and reports in the host's name."""
    (shell.folder / "site").mkdir(exist_ok=True)
    (shell.folder / "site/ca.pem").write_text("certificate\n")
    number = "0123456789abcdef"
    shell.text(
        f"umask 022; plan_installation={number} plan_profile='' "
        f"plan_progress=https://10.9.0.1/install/progress/{number}; write_first_boot"
    )

    folder = shell.folder / "target/etc/rocks/installation"
    assert (folder / "progress").read_text().endswith(f"{number}\n")
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_clock_without_a_battery_is_set_for_the_installed_system(shell: Shell) -> None:
    """Else the first boot is before the site's certificates are valid, and the host never gets its profile."""
    site, target = shell.folder / "site", shell.folder / "target"
    site.mkdir(exist_ok=True)
    (site / "ca.pem").write_text("certificate\n")
    (site / "time").write_text("1790000000\n")
    for clock, changes in (("1000", "date -s @1790000000, hwclock -u -w, "), ("1790000000", "")):
        programs = (
            f"date() {{ [ $1 = +%s ] && echo {clock} || printf 'date %s, ' \"$*\" >&3; }}; "
            "hwclock() { printf 'hwclock %s, ' \"$*\" >&3; }; "
        )
        assert shell.text(f"exec 3>&1; {programs} set_clock") == changes
    (target / "usr/lib").mkdir(parents=True)
    shell.text("plan_installation=1 plan_profile='' plan_progress=https://10.9.0.1/; write_first_boot")
    assert (target / "usr/lib/clock-epoch").stat().st_mtime == 1790000000
