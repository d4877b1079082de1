"""The form of a launcher.toml: Nucleus reads it by the rules of `comet launch`."""

from pathlib import Path

import pytest

from comet.client.errors import UsageError
from comet.client.launchers import launcher_values
from lab.namespace import CHECKOUT
from tests.system.nucleus.api.conftest import PROBLEMS
from tests.system.nucleus.api.http_client import Answer, Client

EXAMPLES = CHECKOUT / "examples/launchers"
GOOD = 'nodes = 2\ncommand = "x"\n'


def ask(service: Client, text: bytes, username: str = "ann") -> Answer:
    return service.ask(username, "POST", "/page/computesets/launcher", body=text, headers=PROBLEMS)


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/launcher.toml")), ids=lambda path: path.parent.name)
def test_the_examples_have_the_values_of_comet(service: Client, path: Path) -> None:
    answer = ask(service, path.read_bytes())
    assert (answer.status_code, answer.json()) == (200, launcher_values(path.read_text("utf-8"), ""))


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "nodes = ",
        "x = " + "[" * 10_000,
        "nodes = 1",
        GOOD + "node = 1",
        GOOD.replace("2", "0"),
        GOOD.replace("2", "0x" + "f" * 5000),
        GOOD + 'walltime = "2"',
        GOOD + 'files = ["../x"]',
        GOOD + 'user = "-l x"',
    ],
)
def test_what_comet_refuses_is_refused_with_the_same_message(service: Client, text: str) -> None:
    with pytest.raises(UsageError) as refused:
        launcher_values(text, "launcher.toml")
    answer = ask(service, text.encode())
    expected = [{"pointer": "#/launcher", "detail": str(refused.value)}]
    assert (answer.status_code, answer.json()["errors"]) == (400, expected)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"\xff", "can't decode"),
        (GOOD.encode() + b"#" * (16 << 10), "too large for this page"),
        (b".".join([b"a"] * 100) + b" = 1", "has a line of more than 50 dots"),
        (f'{GOOD}walltime = "{"9" * 5000}d"'.encode(), "999 …"),
    ],
    ids=["not UTF-8", "long", "a key of many parts", "a long number"],
)
def test_what_this_page_does_not_read_is_refused(service: Client, text: bytes, reason: str) -> None:
    answer = ask(service, text)
    assert answer.status_code == 400 and reason in answer.json()["errors"][0]["detail"]


def test_only_owners_ask_and_nothing_starts(service: Client) -> None:
    assert ask(service, GOOD.encode(), "").status_code == 401
    assert ask(service, GOOD.encode()).status_code == 200
    assert service.get("ann", "/v1/computeset").json() == []
