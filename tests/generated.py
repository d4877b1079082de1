"""Generated input: how many examples a test tries, and from which seed; and how many moments of a death or failure.

The environment variable ROCKS_TEST_PROFILE chooses one of three Hypothesis profiles:

`fixed`   the default: the same examples in every run, so that a run fails only because of a change
`short`   a quarter of them, of the moments and of the cases of `sample`: `make test` and `make check`
`random`  fresh seeds and `RANDOM_FACTOR` times as many examples, and every moment: `make test-random`

An example that a random run finds is printed with the code that repeats it. Add it to its test as `@example`.
"""

import os
from collections.abc import Sequence
from typing import TypeVar

from hypothesis import HealthCheck, settings

PROFILE = os.environ.get("ROCKS_TEST_PROFILE", "fixed")
RANDOM_FACTOR = 10
SHORT_DIVISOR = 4
_DEFAULT_EXAMPLES = 100

Case = TypeVar("Case")


def examples(count: int) -> int:
    """The number of examples of a test that tries `count` of them in a fixed run."""
    if PROFILE == "short":
        return -(-count // SHORT_DIVISOR)
    return count * RANDOM_FACTOR if PROFILE == "random" else count


def moments_step(step: int) -> int:
    """The step from one moment to the next of a test that tries every `step`-th in a fixed run. Marker `moments`."""
    if PROFILE == "short":
        return step * SHORT_DIVISOR
    return 1 if PROFILE == "random" else step


def sample(cases: Sequence[Case]) -> Sequence[Case]:
    """All of the cases; in a short run every fourth, from the second on, or the only one."""
    return (cases[1::SHORT_DIVISOR] or cases[:1]) if PROFILE == "short" else cases


def load_profile() -> None:
    """Make the chosen profile the default of all tests; called before any test module is imported.

    Deadlines are off in all: workers share the processors, so that the time of one example proves nothing. There is no
    database of examples: what one run found does not change the next.
    """
    settings.register_profile("fixed", derandomize=True, database=None, deadline=None)
    settings.register_profile(
        "short", settings.get_profile("fixed"), max_examples=examples(_DEFAULT_EXAMPLES)
    )
    settings.register_profile(
        "random",
        database=None,
        deadline=None,
        max_examples=examples(_DEFAULT_EXAMPLES),
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile(PROFILE)
