"""The application: routes and handlers put together. Nothing is connected here."""

from collections.abc import Callable
from importlib.metadata import version

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from engine.limits import BODY_BYTES_MAX
from gateway import openapi, webhooks
from gateway.bodies import of_validation
from gateway.doors import SUFFIX as CHECK_INS_SUFFIX
from gateway.edge import Edge
from gateway.holds import PREFIX, SUFFIX
from gateway.problems import MEDIA_TYPE, Problem
from gateway.routes import (
    availability,
    bookings,
    controls,
    doors,
    events,
    notifications,
    operations,
    payments,
    tickets,
    webhook_endpoints,
)
from gateway.service import Service

_ROUTERS = (
    events.router,
    availability.router,
    bookings.router,
    payments.router,
    tickets.router,
    doors.router,
    notifications.router,
    webhook_endpoints.router,
    controls.router,
    operations.router,
)
#: Codes for what the framework refuses by itself.
_CODES = {
    400: "malformed_json",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
}


def make_app(inner: FastAPI, service: Service, ray_answers: Callable[[], bool]) -> Edge:
    """Return the ASGI application of one gateway process.

    Args:
        inner: see `make_inner`.
        service: what the routes share.
        ray_answers: tells whether the cluster answers; may block.
    """
    inner.state.service = service
    inner.state.ray_answers = ray_answers
    return Edge(inner, service)


def make_inner() -> FastAPI:
    """Return everything but the edge and the plain routes, serving nobody yet.

    Its routes are made here. The framework would make them with the first request: a tenth
    of a second, in which a gateway answers nobody.
    """
    app = FastAPI(
        title="onsale",
        version=version("onsale"),
        redirect_slashes=False,
        max_body_size=BODY_BYTES_MAX,
    )
    for router in _ROUTERS:
        app.include_router(router)
    # The edge takes the POST of these; what is left of them is told which method to use.
    of_event = PREFIX + "{event_id}"
    for path in (of_event + SUFFIX, of_event + CHECK_INS_SUFFIX, webhooks.PATH):
        app.add_route(path, _not_found, ["POST"], include_in_schema=False)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _broken)
    openapi.install(app)
    nobodys = {"type": "http", "method": "GET", "path": "", "root_path": "", "headers": []}
    for route in app.routes:
        route.matches(nobodys)
    return app


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    request_id: str = request.scope["request_id"]
    return Response(
        error.body(request.url.path, request_id),
        status_code=error.kind.status,
        media_type=MEDIA_TYPE,
        headers=error.headers(),
    )


async def _not_found(_request: Request) -> Response:
    raise Problem("not_found")


async def _broken(request: Request, _error: Exception) -> Response:
    """Answer for an error of ours; the edge logs it."""
    return await _problem(request, Problem("internal_error"))


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
    if error.status_code == 405:
        # The framework names the methods of the first route of this path only.
        allowed = set(answer.headers.get("allow", "").split(", ")) | _methods(request.url.path)
        answer.headers["allow"] = ", ".join(sorted(allowed - {""}))
    return answer


def _methods(path: str) -> set[str]:
    """Return the methods that a path can be asked with."""
    return {
        method
        for router in _ROUTERS
        for route in router.routes
        if isinstance(route, Route) and route.path_regex.match(path)
        for method in route.methods or ()
    }
