"""Keys of virtual clusters, against OpenSSH's own reading of them."""

from pathlib import Path

import pytest

from rocks.core.errors import IncoherentError
from rocks.core.process import run_checked
from rocks.core.public_keys import read_keys
from rocks.trust.cluster_key_files import new_key, read_key


def test_openssh_reads_the_key_and_finds_the_same_public_half(tmp_path: Path) -> None:
    text = new_key()
    key = read_key(text, "root@web")
    assert "\n" not in text and text != new_key()
    assert read_keys(key.public) == (key.public,)
    (tmp_path / "id").write_text(key.private)
    (tmp_path / "id").chmod(0o600)
    found = run_checked(["ssh-keygen", "-y", "-f", str(tmp_path / "id")], deadline_seconds=60.0).text
    assert found.split()[:2] == key.public.split()[:2]


@pytest.mark.parametrize("text", ["", "x", "AAAA", "!" * 44, "Grüße"])
def test_a_damaged_key_is_named(text: str) -> None:
    with pytest.raises(IncoherentError, match="the stored key is damaged"):
        read_key(text, "root@web")
