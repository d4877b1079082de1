"""What a request is: a shape that knows, for the type checker, the shape of its reply."""

from __future__ import annotations

from typing import Generic, TypeVar

Reply = TypeVar("Reply", covariant=True)


class Request(Generic[Reply]):
    """Base of every request; `FactsRequest(Request[HostFacts])` is answered by a HostFacts."""
