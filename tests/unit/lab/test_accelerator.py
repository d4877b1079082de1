"""What the lab makes of the agent's word about KVM."""

import pytest

from lab.accelerator import Acceleration, read_answer
from rocks.core.errors import ToolError


def test_the_agents_answer_is_read() -> None:
    assert read_answer(
        '{"accelerator": "kvm", "reason": "it boots", "kernel": "6.1", "cached": false}\n'
    ) == (Acceleration(True, "it boots"))
    assert read_answer('{"accelerator": "tcg", "reason": "no /dev/kvm"}') == Acceleration(
        False, "no /dev/kvm"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tcg: no",
        "[]",
        "{}",
        '{"accelerator": "fast", "reason": ""}',
        '{"accelerator": "kvm", "reason": 1}',
    ],
)
def test_anything_else_is_no_answer(text: str) -> None:
    with pytest.raises(ToolError, match="cannot be read"):
        read_answer(text)
