"""Decision 29: whatever is killed, lost, repeated or late, at most one instance of a machine runs."""

import itertools
from collections.abc import Iterator

import pytest

from rocks.machine import start as lease_actions
from tests.generated import PROFILE, examples, sample
from tests.unit.leases.interleavings.programs import ModelLeases, stubs
from tests.unit.leases.interleavings.search import search_all, search_random
from tests.unit.leases.interleavings.world import Scenario, forget_programs

COMMANDS = (("start", "a"), ("start", "b"), ("stop", ""), ("force", ""))
"""On another host than before, a start is one of a machine that `set host vm physnode=` has moved."""

HOSTS = ("a", "b")
SEED = 11
IS_LONG = PROFILE == "random"
FAULTS = 2 if IS_LONG else 1
RANDOM_COUNT = 1_000_000 if IS_LONG else examples(3_000)


@pytest.fixture(autouse=True)
def model() -> Iterator[None]:
    """Real code above the steps of the model, which forgets what other tests have replaced."""
    forget_programs()
    with stubs():
        yield
    forget_programs()


def scenarios(length: int) -> list[Scenario]:
    """Those of so many commands that begin with a start on host a; without a start nothing runs."""
    return [found for found in itertools.product(COMMANDS, repeat=length) if found[0] == COMMANDS[0]]


@pytest.mark.slow
@pytest.mark.hypothesis
@pytest.mark.parametrize("scenario", sample(scenarios(3)), ids=lambda found: "-".join(map("".join, found)))
def test_every_interleaving_of_three_commands(scenario: Scenario) -> None:
    """All of them on two hosts, with every kill of a command and one fault (`make test-random`: two)."""
    found = search_all(scenario, HOSTS, FAULTS)
    assert found.trace is None, found.trace
    assert found.interleavings > 100_000
    print(f"{found.states} states, {found.interleavings} interleavings")


@pytest.mark.hypothesis
def test_random_interleavings_of_more_commands() -> None:
    """Four to six commands, three hosts, six faults."""
    commands = (*COMMANDS, ("start", "c"))
    longer = [(COMMANDS[0], *rest) for n in (3, 4, 5) for rest in itertools.product(commands, repeat=n)]
    steps, found = search_random(longer, (*HOSTS, "c"), 6, RANDOM_COUNT, SEED)
    assert found is None, found
    assert steps > 20 * RANDOM_COUNT
    print(f"{RANDOM_COUNT} interleavings, {steps} steps")


def test_the_search_finds_a_stop_that_does_not_end_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was: the host knew the lease, but let it in again."""
    monkeypatch.setattr(ModelLeases, "end", lambda self, name, token: self.admit(name, token))
    found = search_all((("start", "a"), ("stop", ""), ("start", "b")), HOSTS, 0)
    assert found.trace is not None
    assert ("kill command", "command0") in found.trace


def test_the_search_finds_a_move_on_the_word_of_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was: a domain that did not run counted as gone for ever."""
    monkeypatch.setattr(lease_actions, "_has_ended", lambda lease, answer: not answer.domains)
    assert search_all((("start", "a"), ("start", "b")), HOSTS, 0).trace is not None
