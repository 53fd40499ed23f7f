"""The ceiling of one gateway process: an ASGI callable that reads the body and answers.

Nothing is validated, decided or stored. See `ceilings`.
"""

from starlette.types import Receive, Scope, Send

#: About as long as a booking.
_BODY = b'{"id":"bk_0000000000000000000000000000","history":[' + b" " * 380 + b"]}"
_HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(_BODY)).encode()),
]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request."""
    assert scope["type"] == "http"
    await receive()
    await send({"type": "http.response.start", "status": 201, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})
