"""The initramfs with the site's authority, as gzip and cpio read it."""

from pathlib import Path

from rocks.core.process import run_checked
from rocks.install.boot.service import site_files


def test_cpio_unpacks_it(tmp_path: Path) -> None:
    archive = site_files(b"-----BEGIN CERTIFICATE-----\n", 1_700_000_000)
    run_checked(
        ["busybox", "sh", "-c", 'cd "$0" && busybox gzip -d | busybox cpio -i -d', str(tmp_path)],
        deadline_seconds=10,
        standard_input=archive,
    )
    assert (tmp_path / "installer/site/ca.pem").read_bytes() == b"-----BEGIN CERTIFICATE-----\n"
    assert (tmp_path / "installer/site/time").read_text() == "1700000000\n"
