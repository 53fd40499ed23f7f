"""Whoever visits: comes, does one thing from beginning to end, and goes."""

import random
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import gevent
from locust import FastHttpUser, task
from locust.exception import StopUser

from loadtests.locust.arguments import Options
from loadtests.locust.desk import Desk
from loadtests.locust.objectives import ARRIVAL, JOURNEY
from loadtests.locust.outcomes import Answer, judge

if TYPE_CHECKING:
    from loadtests.locust.running import Run

#: How long a buyer waits for an answer, seconds.
_ANSWER_SECONDS = 30.0


class Visitor(FastHttpUser):
    """A user of Locust that carries out a story again and again.

    In a closed loop it pauses between two visits. In an open loop it waits for the next
    arrival that nobody else has taken, and it counts how long that takes to be answered for
    the first time, from the moment when it was due.

    Attributes:
        needs_buyers: every user needs a token of its own.
        needs_sandbox: somebody pays.
        needs_codes, needs_webhooks: tickets, or payments to tell of, are made ready by some.
    """

    abstract = True
    connection_timeout = network_timeout = _ANSWER_SECONDS
    needs_buyers: ClassVar[bool] = True
    needs_codes: ClassVar[bool] = False
    needs_sandbox: ClassVar[bool] = False
    needs_webhooks: ClassVar[bool] = False

    @property
    def _run(self) -> "Run":
        run: Run = self.environment.onsale
        return run

    @property
    def desk(self) -> Desk:
        """What this process has to work with."""
        return self._run.desk

    @property
    def options(self) -> Options:
        """What was asked for."""
        return self._run.options

    def wait_time(self) -> float:
        """Return how long to pause before the next visit, seconds."""
        if self.desk.arrivals is not None:
            return 0.0
        return random.uniform(0.5, 1.5) * self.options.think_seconds  # noqa: S311 - no secret

    def on_start(self) -> None:
        """Come at a moment of one's own: users are started in crowds."""
        self._due: float | None = None
        if self.desk.arrivals is None:
            gevent.sleep(random.uniform(0, 1) * self.options.think_seconds)  # noqa: S311

    @task
    def come(self) -> None:
        """Make one visit."""
        arrivals = self.desk.arrivals
        if arrivals is None:
            self.visit()
            return
        due = arrivals.take(time.monotonic())
        if due is None:
            raise StopUser
        gevent.sleep(max(0.0, due - time.monotonic()))
        self._due = due
        self.visit()

    def visit(self) -> None:
        """Do what the story is about."""
        raise NotImplementedError

    def ask(  # noqa: PLR0913 - a request has as many parts
        self,
        method: str,
        path: str,
        what: str,
        done: str,
        *,
        token: str = "",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        reads: Callable[[bytes], Answer] | None = None,
    ) -> tuple[Answer, Any]:
        """Ask once; count what was answered.

        Args:
            method: of HTTP.
            path: below the base URL, or a whole URL.
            what: name of the row of statistics, and of the outcomes.
            done: see `judge`.
            token: who asks.
            body: JSON.
            headers: more of them.
            reads: says what the body of an answer to something done means.

        Returns:
            What the answer means, and the response with `content` and `headers`.
        """
        sent = dict(headers or ())
        if token:
            sent["authorization"] = f"Bearer {token}"
        if body:
            sent["content-type"] = "application/json"
        with self.client.request(
            method, path, name=what, data=body, headers=sent, catch_response=True
        ) as response:
            retry_after = (response.headers or {}).get("retry-after")
            content = response.content or b""
            answer = judge(response.status_code, content, retry_after, done)
            if reads is not None and answer.name == done:
                answer = reads(content)
            if answer.failed:
                response.failure(answer.name)
            else:
                response.success()
        if self._due is not None:
            self.tell(ARRIVAL, type(self).__name__, self._due)
            self._due = None
        self.desk.count(what, answer)
        return answer, response

    def tell(self, kind: str, name: str, began: float, failure: str | None = None) -> None:
        """Enter how long something took that is no request, from a moment until now.

        Args:
            kind: `ARRIVAL` or `JOURNEY`.
            name: of the row.
            began: on the monotonic clock, seconds.
            failure: why it did not come to its end.
        """
        assert kind in (ARRIVAL, JOURNEY)
        self.environment.events.request.fire(
            request_type=kind,
            name=name,
            response_time=(time.monotonic() - began) * 1_000,
            response_length=0,
            exception=failure,
            context={},
        )
