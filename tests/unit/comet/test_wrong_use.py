"""What is typed wrongly is refused by the name that its owner gave it."""

from typing import Any

import pytest

from tests.nucleus_server import problem
from tests.unit.comet.conftest import Comet


def test_a_type_of_events_that_is_none_is_a_wrong_use(comet: Comet) -> None:
    """Who asks for a stream understands the problem that comes instead, too."""
    detail = "it must be one of 'node.power', 'set.state'"
    errors = [{"pointer": "#/query/types/0", "detail": detail}]
    of_shape = problem("invalid-request", 400, f"the request is not valid: {detail}", errors=errors)

    def refuse(handler: Any) -> None:
        assert "application/problem+json" in handler.headers["Accept"]
        handler.reply(*of_shape)

    comet.server.answers["/events"] = refuse
    assert comet("events", "--types=x") == (2, "", f"--types: {detail}\n")


@pytest.mark.parametrize(
    ("typed", "error"),
    [
        (("ll", ""), "CLUSTER is empty: give the cluster's name (default: all of yours)\n"),
        (
            ("power", "on", "vc2", ""),
            "NODES is empty: give computes such as vm-[0-3] (default: the frontend)\n",
        ),
        (("token", "revoke", ""), "TOKEN is empty: give the token's id, as comet token list prints it\n"),
    ],
)
def test_an_empty_word_names_nothing(comet: Comet, typed: tuple[str, ...], error: str) -> None:
    """As a variable of a script that was not set: it was taken for a path of another meaning."""
    assert comet(*typed) == (2, "", error)
    assert comet.server.requests == []
