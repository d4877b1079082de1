"""The evidence that a failing test collects, also of machines that no longer answer."""

from pathlib import Path

from lab.machines.evidence import QUESTIONS, collect
from lab.machines.lab import Lab

SUBJECTS = ("lab/machines/evidence.py",)


def test_evidence_of_machines_that_answer_and_of_those_that_do_not(lab: Lab, tmp_path: Path) -> None:
    """One machine answers every question, one is frozen, one is off: all three leave their serial line."""
    lab["vmh1"].freeze()
    lab["vmh2"].kill()
    log = tmp_path / "daemon.log"
    log.write_text("its output\n", encoding="utf-8")
    folder = tmp_path / "evidence"
    collect(lab.machines.values(), [log, tmp_path / "never-written.log"], folder)
    assert {path.name for path in folder.iterdir()} == {"daemon.log", "nas", "vmh1", "vmh2"}
    assert set(QUESTIONS) <= {path.name for path in (folder / "nas").iterdir()}
    assert "tank" in (folder / "nas" / "zfs").read_text(encoding="utf-8")
    assert "Started" in (folder / "nas" / "journal").read_text(encoding="utf-8")
    for name in ("vmh1", "vmh2"):
        assert name in (folder / name / "silent").read_text(encoding="utf-8")
        assert (folder / name / "serial.log").exists()
