"""What the system log has of an owner's request."""

import syslog

import pytest

from rocks.site.airboss.audit import OwnerCall, log_call


def test_a_line_has_who_asked_what_of_which_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(syslog, "syslog", lambda level, text: lines.append(text))
    log_call(
        OwnerCall("192.0.2.1", "SHA256:abcdefghijkl", "vc1", "on", ("vm-a", "vm-b"), "0123456789"), "done"
    )
    assert lines == [
        "address='192.0.2.1' key='SHA256:abcdefghi' cluster='vc1' request='01234567' what='on vm-a vm-b'"
        " outcome='done'"
    ]
