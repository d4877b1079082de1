"""What the cases of all devices ask of a step: it is refused, or it changes something once."""

from collections.abc import Callable
from typing import Any

import pytest


def refused(
    error: type[BaseException], text: str, act: Callable[..., object], *args: Any, **options: Any
) -> None:
    """The step raises this error; its message matches `text`, where there is one."""
    with pytest.raises(error, match=text or None):
        act(*args, **options)


def changes_once(act: Callable[..., Any], *args: Any, **options: Any) -> None:
    """The step changes something, and the same step again nothing."""
    assert act(*args, **options).changed, "nothing was changed"
    assert not act(*args, **options).changed, "the same step again changed something"
