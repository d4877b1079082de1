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
