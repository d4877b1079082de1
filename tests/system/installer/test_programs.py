"""The installer's and its builders' shell programs: shellcheck, and builders that are called wrongly."""

from pathlib import Path

import pytest

from rocks.core.process import run

FOLDER = Path(__file__).parents[3] / "roll/installer"
BUILDERS = ("build-root", "build-initramfs", "prepare-root", "finish-root", "drivers")
INITRAMFS = (
    "init",
    "lease",
    *(f"lib/{path.name}" for path in (FOLDER / "initramfs/lib").iterdir()),
)


@pytest.mark.slow
def test_shellcheck_has_no_remark() -> None:
    checks = [
        *(["shellcheck", "-x", "-P", str(FOLDER.parents[1]), str(FOLDER / name)] for name in BUILDERS),
        ["shellcheck", "-x", "-s", "dash", *(str(FOLDER / "initramfs" / name) for name in INITRAMFS)],
        ["shellcheck", "-s", "dash", str(FOLDER.parents[1] / "src/rocks/install/graph/first-boot")],
    ]
    for check in checks:
        finished = run(check, deadline_seconds=120)
        assert finished.exit_status == 0, finished.text + finished.error_text


@pytest.mark.parametrize("builder", ["build-root", "build-initramfs"])
@pytest.mark.parametrize(
    ("arguments", "environment", "problem"),
    [
        ([], {"SOURCE_DATE_EPOCH": "1"}, "usage:"),
        (["{folder}/dist"], {}, "SOURCE_DATE_EPOCH is not set"),
        (["{folder}/dist", "{folder}/missing"], {"SOURCE_DATE_EPOCH": "1"}, ""),
    ],
)
def test_a_wrong_call_is_an_error_and_leaves_nothing(
    tmp_path: Path, builder: str, arguments: list[str], environment: dict[str, str], problem: str
) -> None:
    finished = run(
        [str(FOLDER / builder), *(argument.format(folder=tmp_path) for argument in arguments)],
        deadline_seconds=60,
        environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment},
    )
    assert finished.exit_status == 1
    assert finished.error_text.startswith("Error: ")
    assert problem in finished.error_text
    assert [path for path in tmp_path.rglob("*") if path.is_file() or "unfinished" in path.name] == []


def test_packages_of_another_release_make_no_root_archive(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text("VERSION_CODENAME=bookworm\n")
    finished = run(
        [str(FOLDER / "prepare-root"), str(tmp_path)],
        deadline_seconds=60,
        environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_RELEASE": "trixie"},
    )
    assert finished.exit_status == 1
    assert "the packages are of bookworm, and the release to build for is trixie" in finished.error_text
    assert [path.name for path in tmp_path.iterdir()] == ["etc"]


def test_a_damaged_archive_makes_no_installer(tmp_path: Path) -> None:
    (tmp_path / "root.tar.zst").write_bytes(b"damaged")
    (tmp_path / "root.sha256").write_text(f"{'0' * 64}  root.tar.zst\n")
    finished = run(
        [str(FOLDER / "build-initramfs"), str(tmp_path)],
        deadline_seconds=60,
        environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SOURCE_DATE_EPOCH": "1"},
    )
    assert finished.exit_status == 1
    assert "root.tar.zst is damaged" in finished.error_text
    assert {path.name for path in tmp_path.iterdir()} == {"root.tar.zst", "root.sha256"}
