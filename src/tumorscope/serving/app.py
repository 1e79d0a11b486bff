"""The HTTP application: routes, their description, and the middleware round them.

In: a `Service` and `Settings`. Out: an ASGI application; `tumorscope.serving.run` starts it. Nothing is fetched from
anywhere else, and the framework's own telemetry is off.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

import tumorscope
from tumorscope.serving import schemas
from tumorscope.serving.forms import read_form, silence_parser
from tumorscope.serving.metrics import MEDIA_TYPE
from tumorscope.serving.pages import read_pages
from tumorscope.serving.refusal import Refusal
from tumorscope.serving.security import Guard
from tumorscope.serving.service import RESEARCH_USE, Service
from tumorscope.serving.settings import Settings

_COMMON = (400, 401, 403, 503)
_UPLOAD = (*_COMMON, 413, 415, 422, 429)
PREDICT = "/v1/predict"
EXPLAIN_FIELDS = {"method": "How heat is made; the first of the model's methods.", "target": "Class to explain."}

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_BOOL = TypeAdapter(bool)


def create_app(service: Service, settings: Settings) -> FastAPI:
    """The application of one model.

    Args:
        service: Answers; whoever made it closes it.
        settings: Limits, names and token.
    """
    silence_parser()
    app = FastAPI(
        title="tumorscope",
        description=f"Answers of one tumor classifier. {RESEARCH_USE}",
        version=tumorscope.__version__,
        docs_url=None,
        redoc_url=None,
        # the framework can send traces with paths and messages to a collector named in the environment
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    app.add_middleware(Shortcut, predict=_add_predict(app, service, settings))
    app.add_middleware(Guard, settings=settings, metrics=service.metrics, accepting=lambda: service.accepting)
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(RequestValidationError, _bad_parameter)
    _add_api(app, service, settings)
    _add_pages(app)
    return app


Predict = Callable[[Request, bool], Awaitable[Response]]


class Shortcut:
    """A middleware that answers `POST /v1/predict` itself.

    The framework's own way to a route, with its stacks of contexts and its parameters, takes a third of the time that
    a request costs beside its prediction. It describes the route; a request goes past it.

    Args:
        app: What answers everything else.
        predict: The route.
    """

    def __init__(self, app: ASGIApp, *, predict: Predict) -> None:
        self.app = app
        self.predict = predict

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["path"] != PREDICT or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        response = await self.predict(request, _flag(request, "thumbnails"))
        await response(scope, receive, send)


def _flag(request: Request, name: str) -> bool:
    """A parameter that is true or false, in the words that the framework knows; false by default.

    Raises:
        Refusal: 422 for other words.
    """
    try:
        return _BOOL.validate_python(request.query_params.get(name, "false"))
    except ValidationError as error:
        raise _unusable_parameter() from error


def _add_predict(app: FastAPI, service: Service, settings: Settings) -> Predict:
    @app.post(
        PREDICT,
        response_model=schemas.Prediction,
        responses=_problems(*_UPLOAD),
        openapi_extra=schemas.upload("files", many=True),
        summary="Answer for one or many files",
    )
    async def predict(request: Request, thumbnails: bool = Query(False, description="Small pictures too.")) -> Response:
        service.check_room()
        form = await read_form(request, file_field="files", most=settings.files)
        return _json(await service.predict(form.files, thumbnails=thumbnails))

    return predict


def _add_api(app: FastAPI, service: Service, settings: Settings) -> None:
    @app.post(
        "/v1/explain",
        response_model=schemas.Explanation,
        responses=_problems(*_UPLOAD),
        openapi_extra=schemas.upload("file", many=False, others=EXPLAIN_FIELDS),
        summary="Show what moved an answer",
    )
    async def explain(request: Request) -> Response:
        form = await read_form(request, file_field="file", most=1, fields=tuple(EXPLAIN_FIELDS))
        (file,) = form.files
        found = await service.explain(file, method=form.fields.get("method"), target=form.fields.get("target"))
        return _json(found)

    @app.get("/v1/model", response_model=schemas.About, responses=_problems(*_COMMON), summary="The model")
    async def model() -> Response:
        return _json(service.about())

    @app.get(
        "/healthz",
        response_model=schemas.Health,
        responses={**_problems(400, 403), 503: {"model": schemas.Health}},
        summary="Sign of life",
    )
    async def healthz() -> Response:
        return _json({"status": "ok"}) if service.accepting else _json({"status": "stopping"}, status=503)

    @app.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **_problems(*_COMMON)},
        summary="Counters for Prometheus",
    )
    async def metrics() -> Response:
        return Response(service.metrics.text(), headers={"Content-Type": MEDIA_TYPE})


def _add_pages(app: FastAPI) -> None:
    pages = read_pages()

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        return pages["index.html"].answer(request)

    @app.get("/static/{name:path}", include_in_schema=False)
    async def static(request: Request, name: str) -> Response:
        if name not in pages:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return pages[name].answer(request)


def _json(content: Any, *, status: int = 200) -> Response:
    return Response(_ENCODER.encode(content).encode(), status_code=status, media_type="application/json")


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": schemas.Problems, "description": HTTPStatus(status).phrase} for status in statuses}


async def _http_problem(_: Request, error: Exception) -> Response:
    """404 and 405 of the router, in the shape of all problems."""
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    phrase = HTTPStatus(status).phrase
    refusal = Refusal(status, phrase.lower().replace(" ", "-"), phrase.lower(), headers=headers)
    return _answer(refusal)


def _unusable_parameter() -> Refusal:
    return Refusal(
        HTTPStatus.UNPROCESSABLE_ENTITY, "bad-parameter", "a parameter is not usable", expected="thumbnails=true"
    )


async def _bad_parameter(_: Request, error: Exception) -> Response:
    """422 for a parameter; its value is not repeated."""
    return _answer(_unusable_parameter())


def _answer(refusal: Refusal) -> Response:
    return Response(refusal.body, refusal.status, refusal.headers, media_type="application/json")
