"""The client's wheel: built, installed alone into an empty environment without the network, and used."""

import sys
import zipfile
from pathlib import Path

import pytest

from rocks.core.process import run_checked
from tests.nucleus_server import TOKEN, NucleusServer
from tests.patience import patience

pytestmark = pytest.mark.slow
CHECKOUT = Path(__file__).resolve().parents[3]


def test_the_wheel_is_installed_alone(tmp_path: Path) -> None:
    run_checked(
        [str(CHECKOUT / "packaging/comet/build"), sys.executable, str(tmp_path / "dist")],
        deadline_seconds=600,
    )
    (wheel,) = (tmp_path / "dist").glob("comet_client-*-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"comet", "comet_client"}
    assert not [name for name in names if "__pycache__" in name]
    assert wheel.stat().st_size < 150_000

    environment = tmp_path / "environment"
    run_checked([sys.executable, "-m", "venv", str(environment)], deadline_seconds=600)
    pip = [str(environment / "bin/python"), "-m", "pip", "--disable-pip-version-check"]
    run_checked([*pip, "install", "--no-index", str(wheel)], deadline_seconds=600)
    assert (environment / "bin/comet-slurm").exists()
    server = NucleusServer()
    alone = ["env", "-i", f"HOME={tmp_path}", f"COMET_ENDPOINT={server.url}", f"COMET_TOKEN={TOKEN}"]
    try:
        for program in ([str(environment / "bin/comet")], [str(environment / "bin/cm"), "comet"]):
            done = run_checked([*alone, *program, "ll"], deadline_seconds=patience(60))
            assert "| vc2  |" in done.text
            rest = run_checked([*alone, *program, "ll", "--format=rest"], deadline_seconds=patience(60))
            assert ("None" in rest.text) == ("comet" in program), "as the old client printed it"
    finally:
        server.close()
