"""The folder with the logs of boots, each of which a user of the site may cause."""

import os

from pragma._shared import log


def test_the_oldest_logs_of_boots_give_way_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(log, "MAX_LOGS", 3)
    for number in range(5):
        path = tmp_path / f"vc{number}-20261130-12:0{number}.log"
        path.write_text("old")
        os.utime(path, (number, number))
    others = {"notes", "sync.log", "vc-20261130-12:00.log.gz", "vc9-20261130.log"}
    for name in others:
        (tmp_path / name).write_text("of the site")
        os.utime(tmp_path / name, (0, 0))
    new = log.log_of_boot(None, tmp_path, "dock")
    assert new.path.parent == tmp_path and "boot of dock" in new.path.read_text()
    left = {path.name for path in tmp_path.iterdir()}
    assert left - others == {"vc3-20261130-12:03.log", "vc4-20261130-12:04.log", new.path.name}
    assert others < left
    given = log.log_of_boot(str(tmp_path / "own.log"), tmp_path, "dock")
    assert given.path.name == "own.log" and len(list(tmp_path.iterdir())) == len(left) + 1
