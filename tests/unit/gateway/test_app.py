"""The application as it is before it serves anybody."""

import pytest
from starlette.routing import Match

from gateway.app import make_inner


def test_the_first_request_finds_its_route_made(monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_inner()

    def too_late(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a route is made while a request waits")

    monkeypatch.setattr("fastapi._compat.v2.TypeAdapter.__init__", too_late)
    asked = {"type": "http", "method": "GET", "path": "/api/v1/events/evt_1", "root_path": ""}
    assert Match.FULL in [route.matches({**asked, "headers": []})[0] for route in app.routes]
