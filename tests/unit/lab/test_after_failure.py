"""What `make demo` and its like say after a failure: what the next make does with the site that is there."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from lab import __main__ as program
from lab.site import Site
from rocks.core.errors import StateError


@pytest.mark.parametrize("target", ["demo", "demo-cluster"])
def test_a_failure_says_that_the_site_stays_and_what_begins_anew(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object) -> None:
        raise StateError("vm-vc1-0 does not start")

    monkeypatch.setattr(program, "_STATE", tmp_path)
    monkeypatch.setattr(program, "_demo", fail)
    monkeypatch.setattr(program, "_image_demo", fail)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("lab.system_calls.die_with_starter", lambda: None)
    monkeypatch.setattr(program, "_alone", nullcontext)
    Site(tmp_path / "demo", tmp_path / "cache").folder.mkdir()
    assert program.main([target]) == StateError("").exit_status
    assert capsys.readouterr().err == (
        "Error: vm-vc1-0 does not start\n"
        f"The incomplete demo has ended; its files stay. `make {target}` repeats its steps on it, and keeps the "
        f"site's records and changes; `make demo-stop` removes it, and `make {target}` then begins anew. "
        f"Logs are in {tmp_path}/demo/log.\n"
    )
