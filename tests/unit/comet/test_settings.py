"""`comet init` and `active` where servers are known already, by our file or by the old client's."""

from pathlib import Path

from comet.client.configuration import load
from tests.nucleus_server import TOKEN
from tests.unit.comet.conftest import Comet
from tests.unit.comet.test_configuration import OLD

OTHER = '[endpoints.other]\nurl = "https://other.example.org"\n'


def test_init_again_offers_what_is_known_and_keeps_the_other_servers(configured: Path, comet: Comet) -> None:
    """What the server answered before is forgotten: the user may be another."""
    configured.write_text(configured.read_text() + f'ca = "{configured.parent}/ca.pem"\n' + OTHER)
    before = load(configured)
    assert comet("ll").status == 0 and comet("ll", "--cached").status == 0
    assert comet("init", "--user=ann", "--token-file=-", stdin=TOKEN).status == 0
    assert load(configured) == before and before.endpoint().ca == f"{configured.parent}/ca.pem"
    assert comet("ll", "--cached").status == 6
    given = ("init", "--endpoint=other", "--user=ann", "--token-file=-")
    assert comet(*given, f"--url={before.endpoint().url}", stdin=TOKEN).status == 0
    assert load(configured).active == "other" and load(configured).endpoints["dev"] == before.endpoint()
    assert comet("init", "--endpoint=new", "--user=ann", "--token-file=-", stdin=TOKEN).status == 2, (
        "no address"
    )


def test_servers_of_the_old_client_are_taken_over_and_its_file_stays(
    configured: Path, comet: Comet, folder: Path
) -> None:
    configured.unlink()
    old = folder / ".cloudmesh" / "cloudmesh.yaml"
    old.parent.mkdir()
    old.write_text(OLD)
    refused = comet("active", "production")
    assert refused.status == 2 and "is the old client's and is not changed: run comet init" in refused.err
    given = ("init", "--endpoint=dev", f"--url={comet.server.url}", "--user=ann", "--token-file=-")
    assert comet(*given, stdin=TOKEN).status == 0
    found = load(configured)
    assert found.active == "dev" and found.endpoints["production"].url == "https://old.example.org/nucleus"
    assert "secret" not in configured.read_text() and old.read_text() == OLD
