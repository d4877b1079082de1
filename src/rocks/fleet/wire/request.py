"""The base of all requests: it declares, for the type checker, the type of the reply."""

from __future__ import annotations

from typing import Generic, TypeVar

Reply = TypeVar("Reply", covariant=True)


class Request(Generic[Reply]):
    """Base of every request; the reply to a `FactsRequest(Request[HostFacts])` is a HostFacts."""
