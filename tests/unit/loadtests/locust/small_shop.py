"""A shop of a few lines, for tests of the kit: honest, or with a mistake planted."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class SmallShop:
    """Events with one ticket type each.

    Attributes:
        beyond: units that it sells more than it has.
        hides: its audit shows no more than the capacity, whatever it sold.
        disagrees: its audit says that live state and journal differ.
        busy: so many holds are answered 503 with Retry-After.
    """

    beyond: int = 0
    hides: bool = False
    disagrees: bool = False
    busy: int = 0
    url: str = ""
    asked: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    capacity: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    units: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, method: str, path: str, token: str, body: dict) -> tuple[int, dict]:
        with self._lock:
            self.asked.append(f"{method} {path}")
            self.tokens.append(token)
            *_, owner, last = path.split("/")
            if method == "POST" and last == "events":
                event_id = f"evt_{len(self.capacity)}"
                self.capacity[event_id] = body["ticket_types"][0]["capacity"]
                self.held[event_id] = 0
                return 201, {"id": event_id}
            if last == "holds":
                return self._hold(owner, body["items"][0]["quantity"])
            if method == "DELETE":
                self.held[last.split(".")[1]] -= self.units.pop(last)
                return 200, {"id": last}
            if last == "audit":
                return 200, self._audit(owner)
            return 404, {"code": "not_found"}

    def _hold(self, event_id: str, quantity: int) -> tuple[int, dict]:
        if self.busy:
            self.busy -= 1
            return 503, {"code": "overloaded"}
        if self.held[event_id] + quantity > self.capacity[event_id] + self.beyond:
            return 409, {"code": "sold_out"}
        self.held[event_id] += quantity
        booking_id = f"bk_{len(self.asked)}.{event_id}"
        self.units[booking_id] = quantity
        return 201, {"id": booking_id}

    def _audit(self, event_id: str) -> dict:
        capacity, held = self.capacity[event_id], self.held[event_id]
        if self.hides:
            held = min(held, capacity)
        counts = {"capacity": capacity, "held": held, "sold": 0, "blocked": 0}
        side = {"ticket_types": [{"code": "ga", **counts}]}
        return {
            "event_id": event_id,
            "agree": not self.disagrees,
            "violations": [],
            "live": side,
            "recomputed": side,
        }


@contextmanager
def open_shop(shop: SmallShop) -> Iterator[SmallShop]:
    """Serve it on a free port for the length of a block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body of an answer leave in two writes, which must not wait for each other.
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            token = self.headers.get("authorization", "").removeprefix("Bearer ")
            asked = json.loads(body) if body else {}
            status, document = shop.answer(self.command, self.path, token, asked)
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            if status == 503:
                self.send_header("retry-after", "1")
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_DELETE = do_POST  # noqa: N815 - named by the base class

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 512

    with Server(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        shop.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield shop
        finally:
            server.shutdown()
            serving.join()
