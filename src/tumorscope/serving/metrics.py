"""What the server counts, for Prometheus. No label comes from a request: routes and codes are the server's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

ROUTES: Mapping[str, str] = {
    "/": "page",
    "/healthz": "healthz",
    "/metrics": "metrics",
    "/openapi.json": "openapi",
    "/v1/model": "model",
    "/v1/predict": "predict",
    "/v1/explain": "explain",
}
"""Label of each path; every other one is "static" or "other"."""
SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4


def route_of(path: str) -> str:
    """The label of a path."""
    return ROUTES.get(path) or ("static" if path.startswith("/static/") else "other")


class Metrics:
    """Counters of one server, in a registry of their own.

    Args:
        waiting: Images accepted and not answered yet.
    """

    def __init__(self, waiting: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "tumorscope_requests", "Requests answered.", ["route", "status"], registry=self.registry
        )
        self._images = Counter("tumorscope_images", "Images by outcome.", ["outcome"], registry=self.registry)
        self._refusals = Counter("tumorscope_refusals", "Requests refused, by code.", ["code"], registry=self.registry)
        self._seconds = Histogram(
            "tumorscope_request_seconds",
            "Seconds from a request's head to the end of its answer.",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._batches = Histogram(
            "tumorscope_batch_images",
            "Images predicted at a time.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        gauge = Gauge("tumorscope_queue_images", "Images accepted and not answered yet.", registry=self.registry)
        gauge.set_function(waiting)
        ProcessCollector(registry=self.registry)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        route = route_of(path)
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def refused(self, code: str) -> None:
        """Count a refusal under one of the server's own codes."""
        self._refusals.labels(code).inc()

    def image(self, outcome: str) -> None:
        """Count an image: "answered", "abstained", "refused" or "unreadable"."""
        self._images.labels(outcome).inc()

    def batch(self, images: int) -> None:
        """Count a batch."""
        self._batches.observe(images)

    def text(self) -> bytes:
        """Everything in Prometheus's text format."""
        return generate_latest(self.registry)
