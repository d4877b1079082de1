"""Counters and gauges of the service, as Prometheus reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Scope

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 60.0)


class Metrics:
    """Counters, as Prometheus reads them: a registry for each application, so that a process can have several."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "nucleus_requests",
            "Requests that were answered",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "nucleus_request_seconds", "Time until the end of the answer", ("route",), buckets=_BUCKETS,
            registry=self._registry,
        )  # fmt: skip
        self._gauges = {
            name: Gauge(f"nucleus_{name}", text, labels, registry=self._registry)
            for name, (text, labels) in _GAUGES.items()
        }

    def count(self, method: str, scope: Scope, status: int, seconds: float) -> None:
        """Count an answer by the pattern of its route, not by its path: names are no labels. Status 0: none.

        `method`: as it was sent.
        """
        pattern = getattr(scope.get("route") or scope["state"].get("route"), "path", "none")
        self._requests.labels(method, pattern, status).inc()
        self._seconds.labels(pattern).observe(seconds)

    def text(self, values: Mapping[str, Mapping[tuple[str, ...], float]]) -> bytes:
        """All counters. `values`: gauge → labels → value, as they are now. By one thread at a time."""
        for name, samples in values.items():
            gauge = self._gauges[name]
            if _GAUGES[name][1]:
                gauge.clear()
            for labels, value in samples.items():
                (gauge.labels(*labels) if labels else gauge).set(value)
        return generate_latest(self._registry)


_GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "operations": ("Operations by state", ("state",)),
    "operation_seconds": ("Mean time of the operations that were asked for within an hour", ("kind",)),
    "operation_errors": (
        "Operations that were asked for within an hour, and have failed or are tried again",
        ("kind", "family"),
    ),
    "computesets": ("Computesets by state", ("state",)),
    "alarms": ("What needs an operator, by what it is", ("kind",)),
    "images_syncing": ("Disks of nodes that are on their way", ()),
    "poll_age_seconds": ("Age of the newest answer of a source", ("source",)),
    "poll_failures": ("Failures of a source since its last answer", ("source",)),
    "poll_seconds": ("Time of the last question to a source", ("source",)),
    "streams": ("Clients that follow events", ()),
}
