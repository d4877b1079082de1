"""A node record says what is wanted, and its file is root's alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from rocks.core.errors import HostError, StateError, ToolError
from rocks.storage.iscsi_initiator.driver import SessionSpec
from rocks.storage.iscsi_initiator.node_record import edit_record, record_settings, write_settings
from rocks.storage.iscsi_initiator.rules import login_error, no_disk
from rocks.storage.iscsi_target.chap import ChapSecrets

RECORD = """# BEGIN RECORD 2.1.8
node.name = iqn.2001-04.com.nas:vm1-vol.3
node.tpgt = -1
node.startup = automatic
node.session.auth.authmethod = None
node.session.auth.chap_algs = MD5
node.session.timeo.replacement_timeout = 120
node.session.timeo.replacement_timeout_of_theirs = 7
# END RECORD
"""
SPEC = SessionSpec(
    target="iqn.2001-04.com.nas:vm1-vol.3",
    address="10.9.0.10",
    port=3260,
    chap=ChapSecrets("vm1", "a-secret-of-the-host", "nas", "a-secret-of-the-nas"),
    unit_serial="0123456789abcdef",
    size_bytes=8 * 1024**2,
    read_only=True,
)


def settings_in(text: str) -> dict[str, str]:
    pairs = (line.partition(" = ") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def test_a_record_is_edited() -> None:
    """Each setting stands in it once; others stay; a second time changes nothing."""
    edited = edit_record(RECORD, record_settings(SPEC))
    found = settings_in(edited)
    assert len(found) == len(edited.splitlines()) - 2
    assert found["node.name"] == SPEC.target and found["node.tpgt"] == "-1"
    assert found["node.startup"] == "manual" and found["node.session.scan"] == "manual"
    assert found["node.session.timeo.replacement_timeout"] == "-1"
    assert (
        found["node.conn[0].timeo.noop_out_interval"] == found["node.conn[0].timeo.noop_out_timeout"] == "5"
    )
    assert found["node.session.timeo.replacement_timeout_of_theirs"] == "7"
    assert found["node.session.auth.authmethod"] == "CHAP"
    assert found["node.session.auth.password"] == "a-secret-of-the-host"
    assert found["node.session.auth.password_in"] == "a-secret-of-the-nas"
    assert edited.startswith("# BEGIN RECORD") and edited.endswith("# END RECORD\n")
    assert edit_record(edited, record_settings(SPEC)) == edited


def test_without_secrets_none_is_left() -> None:
    """Of an earlier use, or of the host's defaults."""
    edited = edit_record(RECORD, record_settings(SPEC))
    plain = settings_in(edit_record(edited, record_settings(replace(SPEC, chap=None))))
    assert plain["node.session.auth.authmethod"] == "None"
    assert not [name for name in plain if "password" in name or "username" in name]


def test_a_record_that_was_cut_off() -> None:
    """It is not guessed what else stood in it."""
    with pytest.raises(ToolError, match="without its end"):
        edit_record(RECORD.replace("# END RECORD\n", ""), {})


def test_the_file_is_replaced(tmp_path: Path) -> None:
    """Readable by root alone whatever it was, with nothing left beside it, and left alone when it is right."""
    path = tmp_path / "nodes" / SPEC.target / "10.9.0.10,3260"
    path.parent.mkdir(parents=True)
    path.write_text(RECORD)
    path.chmod(0o644)
    write_settings(path, record_settings(SPEC))
    assert path.stat().st_mode & 0o777 == 0o600
    assert settings_in(path.read_text())["node.session.auth.username"] == "vm1"
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [path]
    first = path.stat().st_ino
    draft = tmp_path / f".rocks-{SPEC.target}.unfinished-1-aa"
    draft.write_text("a secret in the draft of a killed writer")
    write_settings(path, record_settings(SPEC))
    assert path.stat().st_ino == first
    write_settings(path, record_settings(replace(SPEC, chap=None)))
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [path]
    with pytest.raises(HostError, match="cannot write the node record"):
        write_settings(tmp_path / "nodes" / "x" / "y", {})


NOT_FOUND = f"Could not find iSCSI target {SPEC.target} on server {SPEC.address}: "


@pytest.mark.parametrize(
    ("exit_status", "kind", "begin"),
    [
        (24, StateError, "the NAS rejects this host"),
        (19, StateError, "the NAS rejects this host"),
        (4, HostError, NOT_FOUND),
        (8, HostError, NOT_FOUND),
        (11, HostError, NOT_FOUND),
        (5, HostError, NOT_FOUND),
        (18, ToolError, "Error executing iscsiadm: "),
    ],
)
def test_what_a_failed_login_means(exit_status: int, kind: type[Exception], begin: str) -> None:
    """Refused, not there, or trouble of this host's own; in the words that programs know."""
    error = login_error(SPEC, exit_status, "its words")
    assert type(error) is kind and str(error).startswith(begin) and "its words" in str(error)


def test_a_target_without_a_disk_is_in_no_list_of_targets() -> None:
    assert str(no_disk(SPEC)).startswith(f"Not found {SPEC.target} in targets: ")
