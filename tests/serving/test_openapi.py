"""Requests made from the description, right ones and wrong ones, are answered as the description says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from starlette.types import Receive, Scope, Send

from tests.serving.asgi import HOST, ask, part, post
from tumorscope.predicting.model import Model
from tumorscope.serving import schemas
from tumorscope.serving.app import create_app
from tumorscope.serving.service import Service
from tumorscope.serving.settings import Settings

OPERATIONS = (
    ("/v1/predict", "POST"),
    ("/v1/explain", "POST"),
    ("/v1/model", "GET"),
    ("/healthz", "GET"),
    ("/metrics", "GET"),
)
BOUNDED = settings(
    max_examples=12, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def app(model: Model) -> Iterator[Any]:
    bounds = Settings(allowed_hosts=("testserver",))
    service = Service(model, settings=bounds)
    yield create_app(service, bounds)
    service.close()


@pytest.fixture(scope="module")
def description(app: Any) -> Any:
    """The application as schemathesis asks it: each of its clients starts and stops what it is given."""

    async def lasting(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        for phase in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{phase}.complete"})

    return schemathesis.openapi.from_asgi("/openapi.json", lasting)


POSITIVE, NEGATIVE = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
# in a form everything is bytes: null becomes a file that holds four letters, and which classes there are is the model's
UNKNOWABLE = [positive_data_acceptance, negative_data_rejection]
CASES = [
    *((path, method, POSITIVE) for path, method in OPERATIONS),
    # the others take nothing that could be wrong
    *((path, method, NEGATIVE) for path, method in OPERATIONS if method == "POST"),
]


@pytest.mark.parametrize(("path", "method", "mode"), CASES, ids=lambda value: getattr(value, "value", value))
def test_the_description_holds(description: Any, path: str, method: str, mode: Any) -> None:
    operation = description[path][method]
    seen = []

    @BOUNDED
    @given(case=operation.as_strategy(generation_mode=mode))
    def asked(case: Any) -> None:
        seen.append(case.call_and_validate(excluded_checks=UNKNOWABLE).status_code)

    asked()
    assert all(status < 500 for status in seen)


def test_the_description_names_all_and_fetches_nothing(app: Any) -> None:
    found = ask(app, "/openapi.json", headers=[HOST]).json
    assert sorted(found["paths"]) == sorted({path for path, _ in OPERATIONS})
    body = found["paths"]["/v1/predict"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert body["required"] == ["files"]
    for status in ("400", "401", "403", "413", "415", "422", "429", "503"):
        shape = found["paths"]["/v1/predict"]["post"]["responses"][status]["content"]["application/json"]["schema"]
        assert shape["$ref"].endswith("/Problems")


def test_answers_have_the_described_shapes(app: Any, pictures: list[bytes]) -> None:
    parts = [part(pictures[0]), part(b"no picture")]
    schemas.Prediction.model_validate(post(app, "/v1/predict", *parts, query="thumbnails=1").json)
    schemas.Explanation.model_validate(post(app, "/v1/explain", part(pictures[0], name="file")).json)
    schemas.About.model_validate(ask(app, "/v1/model").json)
    schemas.Problems.model_validate(ask(app, "/v1/predict").json)


def test_the_framework_reports_to_nobody(app: Any) -> None:
    assert app._telemetry == {
        **app._telemetry,
        "tracing": False,
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "auto_configure": False,
    }
    assert (app.docs_url, app.redoc_url) == (None, None)
