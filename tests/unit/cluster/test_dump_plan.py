"""Which lines of a dump are taken over, and as what."""

from __future__ import annotations

import pytest

from rocks.cluster.dump_plan import FORMS, plan_line
from rocks.commands._framework.tree import OUR_TREE, longest_prefix
from rocks.errors import UserError

HOSTS = {"localhost", "compute-0-0", "vm"}


def plan(*texts: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    planned = plan_line(texts, lambda given: longest_prefix(given, [OUR_TREE]), HOSTS)
    return planned.path, planned.texts


def test_every_line_is_a_command_of_this_system() -> None:
    for name in FORMS:
        assert longest_prefix(name.split(), [OUR_TREE]) == len(name.split())


def test_a_value_that_looks_like_a_parameter_stays_a_value() -> None:
    assert plan("add", "attr", "batch", "key=value") == (("add", "attr"), ("attr=batch", "value=key=value"))
    assert plan("add", "host", "attr", "compute-0-0", "a", "b=c")[1] == ("compute-0-0", "attr=a", "value=b=c")
    assert plan("add", "host", "attr", "compute-0-0", "attr=a", "value=b")[1] == (
        "compute-0-0",
        "attr=a",
        "value=b",
    )
    assert plan("set", "host", "interface", "options", "compute-0-0", "eth0", "a=b")[1] == (
        *("compute-0-0", "eth0", "options=a=b"),
    )


def test_a_host_may_have_the_name_of_a_command() -> None:
    assert plan("set", "host", "boot", "vm", "action=os") == (("set", "host", "boot"), ("vm", "action=os"))
    assert plan("add", "host", "vm", "rack=0") == (("add", "host"), ("vm", "rack=0", "shared-place=yes"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("add host attr % a b", "not here|pattern"),
        ("add appliance attr % a b", "pattern"),
        ("add host attr gone-0-0 a b", "gone-0-0 is not here"),
        ("set host vm vm physnode=gone-0-0", "gone-0-0 is not here"),
        ("add firewall host=gone-0-0 rulename=a", "gone-0-0 is not here"),
        ("add host key vm key=/etc/shadow", "no text of a public key"),
        ("add attr root_pw x", "is a secret"),
        ("add attr rocks_version 7.0", "sets the attribute"),
        ("add attr a", "its value is missing"),
        ("add attr a b c", '"c" is unexpected'),
        ("add attr root_pw my geheim", r'^"\*\*\*" is unexpected'),
        ("remove host vm", "only adds"),
        ("run host vm reboot", "no part of a dump"),
        ("run reconfigure", "clear=1"),
        ("add sge queue", "no command"),
        ("add host roll vm kvm x", "unexpected"),
    ],
)
def test_what_is_not_taken_over_has_a_reason(line: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        plan(*line.split())
