"""What is typed wrongly is refused by the name that its owner gave it."""

from typing import Any

import pytest

from tests.nucleus_server import problem
from tests.unit.comet.conftest import Comet, sent


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


@pytest.mark.parametrize("typed", [("ll", "\udce9"), ("events", "--cluster=\udce9")])
def test_a_word_that_is_no_text_is_a_wrong_use(comet: Comet, typed: tuple[str, ...]) -> None:
    """As a terminal of another encoding sends it."""
    assert comet(*typed) == (2, "", "'\\udce9' is not UTF-8 text\n")
    assert comet.server.requests == []


def test_an_empty_list_beside_a_count_names_nothing(comet: Comet) -> None:
    assert comet("start", "vc2", "", "--count=2").out.startswith("computeset 1 is accepted.")
    ((_, body),) = sent(comet.server, "POST")
    assert body == {"cluster": "vc2", "walltime_mins": 2880, "count": 2}
    empty = "NODES is empty: give computes such as vm-[0-3]; they, or --count, are needed\n"
    assert comet("start", "vc2", "") == (2, "", empty)


@pytest.mark.parametrize(
    ("typed", "right"),
    [
        (("start", "vc2", "-x1", "--walltime=6h"), "start --walltime=6h -- vc2 -x1"),
        (("power", "on", "-y", "vc2", "-x[0-1]"), "power on -y -- vc2 -x[0-1]"),
        (("node", "rename", "vc2", "-x1", "n1"), "node rename -- vc2 -x1 n1"),
        (("node", "info", "vc2", "-x1"), "node info -- vc2 -x1"),
    ],
)
def test_a_name_that_was_taken_for_an_option_goes_behind_two_dashes(
    comet: Comet, typed: tuple[str, ...], right: str
) -> None:
    refused, name = comet(*typed), next(it for it in typed if it.startswith("-x"))
    advice = f" Is {name} a name? Options come first, then --, then all names."
    assert refused.status == 2 and advice in refused.err
    assert comet.server.requests == []
    assert comet(*right.split()).status in (0, 4, 5) and comet.server.requests
    assert " a name? " not in comet("node", "rename", "-y", "vc2").err


def test_an_option_behind_two_dashes_gets_the_right_advice(comet: Comet) -> None:
    refused = comet("node", "rename", "vc2", "vm-vc2-0", "--", "-n", "--yes")
    assert (refused.status, "Options come first, then --, then all names." in refused.err) == (2, True)
    assert "Did you mean" not in refused.err


def test_the_frontend_has_no_name_of_its_own(comet: Comet) -> None:
    """The advice for power, to leave the node out, would lead nowhere."""
    refused = comet("node", "rename", "vc2", "VC2", "front", "--yes")
    assert refused == (2, "", "vc2 is the frontend, whose name is the cluster's: only computes are renamed\n")
    assert comet.server.requests == []


@pytest.mark.parametrize(
    ("word", "answer"),
    [("screen", "comet console"), ("password", "comet init"), ("certificate", "comet init --ca=FILE")],
)
def test_help_finds_what_an_owner_looks_for(comet: Comet, word: str, answer: str) -> None:
    found = comet("help", word)
    assert (found.status, answer in found.out) == (0, True)


def test_an_option_says_what_it_does_for_its_command(comet: Comet) -> None:
    """An allocation is charged by a start, and chosen in a list."""
    assert "only those of an allocation" in comet("computeset", "--help").out
    assert "the allocation that is charged" in comet("start", "--help").out
