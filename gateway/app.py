"""The application: routes and handlers put together. Nothing is connected here."""

from collections.abc import Callable
from importlib.metadata import version

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gateway import openapi
from gateway.bodies import of_validation
from gateway.edge import Edge
from gateway.problems import MEDIA_TYPE, Problem
from gateway.routes import availability, bookings, events, operations
from gateway.service import Service

#: Codes for what the framework refuses by itself.
_CODES = {400: "malformed_json", 404: "not_found", 405: "method_not_allowed"}


def make_app(service: Service, ray_answers: Callable[[], bool]) -> Edge:
    """Return the ASGI application of one gateway process.

    Args:
        service: what the routes share.
        ray_answers: tells whether the cluster answers; may block.
    """
    app = FastAPI(title="onsale", version=version("onsale"), redirect_slashes=False)
    app.state.service = service
    app.state.ray_answers = ray_answers
    for module in (events, availability, bookings, operations):
        app.include_router(module.router)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    openapi.install(app)
    return Edge(app, service)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    request_id: str = request.scope["request_id"]
    return Response(
        error.body(request.url.path, request_id),
        status_code=error.kind.status,
        media_type=MEDIA_TYPE,
        headers=error.headers(),
    )


async def _invalid(request: Request, error: Exception) -> Response:
    """Name every wrong field; a pointer begins at the body, the query or the header."""
    assert isinstance(error, RequestValidationError)
    details = [dict(detail) for detail in error.errors()]
    for detail in details:
        place, *rest = detail["loc"]
        detail["loc"] = tuple(rest) if place == "body" else (place, *rest)
        if detail["type"] == "json_invalid":
            detail["loc"] = ()
    return await _problem(request, of_validation(details))  # type: ignore[arg-type]


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    problem = Problem(_CODES.get(error.status_code, "invalid_request"), str(error.detail))
    answer = await _problem(request, problem)
    answer.headers.update(error.headers or {})
    return answer
