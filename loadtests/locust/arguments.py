"""Arguments of the kit, on the command line, in the environment and in the web form."""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtests.locust.courses import COURSES, Course
from loadtests.locust.objectives import Objectives
from loadtests.locust.preparing import NotReady

_TEXT = [
    ("event-id", "", "Event to buy tickets of; empty makes one for the run"),
    ("capacity", "5000", "Tickets of an event that is made"),
    ("price", "4500", "Price of its tickets, in minor units"),
    ("tickets-per-hold", "2", "Tickets that a buyer asks for at once"),
    ("door-tickets", "1000", "Tickets that are made ready for the doors"),
    ("think-seconds", "1", "Mean pause between two visits of a user"),
    ("tokens-file", "", "File of buyers' tokens, one a line: onsale token --role buyer --count N"),
    ("sandbox-url", "", "Stripe sandbox where buyers pay"),
    ("arrivals-per-second", "200", "Peak of an open loop"),
    ("patience-seconds", "1", "How late an arrival of an open loop may begin; later it is skipped"),
    ("max-error-percent", "0", "Objective: errors of all requests"),
    ("max-p95-ms", "500", "Objective: p95 of every kind of request; empty asks for nothing"),
    ("max-turned-away-percent", "1", "Objective: 429 and 503 with Retry-After; empty: any number"),
    ("max-skipped-percent", "1", "Objective: skipped arrivals of an open loop"),
]
_SECRET = [
    ("organizer-token", "Token of an organizer, who makes events, lets people in and audits"),
    ("webhook-secret", "Signing secret of the sandbox's webhook endpoint"),
]
CLOSED, OPEN = "closed", "open"
#: No course: Locust's own users, spawn rate and run time.
NO_SHAPE = "none"


def add_arguments(parser: Any) -> None:
    """Add them to Locust's parser. Their environment is ONSALE_LOAD_ and the name."""
    parser.add_argument(
        "--shape",
        choices=[*COURSES, NO_SHAPE],
        default="Seed",
        env_var="ONSALE_LOAD_SHAPE",
        # The web form has a picker of its own: --class-picker.
        include_in_web_ui=False,
        help="How the number of users goes; --users and --run-time stretch it",
    )
    parser.add_argument(
        "--loop",
        choices=[CLOSED, OPEN],
        default=CLOSED,
        env_var="ONSALE_LOAD_LOOP",
        help="open: visitors come by the clock, --users of them at the same time at most",
    )
    for name, default, text in _TEXT:
        parser.add_argument(f"--{name}", default=default, env_var=_variable(name), help=text)
    for name, text in _SECRET:
        parser.add_argument(
            f"--{name}", default="", env_var=_variable(name), is_secret=True, help=text
        )
    parser.add_argument(
        "--verdict-file",
        default="",
        env_var=_variable("verdict-file"),
        include_in_web_ui=False,
        help="Where the verdict is kept, as JSON",
    )


def _variable(name: str) -> str:
    return f"ONSALE_LOAD_{name.upper().replace('-', '_')}"


@dataclass(frozen=True)
class Options:
    """The arguments, as values."""

    event_id: str
    capacity: int
    price: int
    tickets_per_hold: int
    door_tickets: int
    think_seconds: float
    tokens_file: str
    sandbox_url: str
    organizer_token: str
    webhook_secret: str
    open_loop: bool
    arrivals_per_second: float
    patience_seconds: float
    objectives: Objectives
    verdict_file: str
    users: int | None
    run_seconds: int | None

    def users_over_time(self, shape: str) -> Course:
        """Return how many users there are when."""
        return COURSES[shape].with_peak(self.users).with_seconds(self.run_seconds)

    def arrivals_over_time(self, shape: str) -> Course:
        """Return how many arrivals a second there are when."""
        return COURSES[shape].with_peak(self.arrivals_per_second).with_seconds(self.run_seconds)

    def peak_users(self, shape: str | None) -> int:
        """Return how many users there are at most; without a shape, what Locust was told."""
        return (self.users or 1) if shape is None else round(self.users_over_time(shape).peak)

    def buyers(self) -> list[str]:
        """Return the tokens; none if there is no file.

        Raises:
            NotReady: it cannot be read, or has one of them twice.
        """
        if not self.tokens_file:
            return []
        try:
            tokens = Path(self.tokens_file).read_text().split()
        except OSError as error:
            raise NotReady(f"--tokens-file {self.tokens_file}: {error.strerror}") from error
        if len(set(tokens)) < len(tokens):
            raise NotReady(f"--tokens-file {self.tokens_file} has a token twice")
        return tokens


def read_options(parsed: Namespace) -> Options:
    """Read what Locust's parser, or its web form, made of the arguments.

    Raises:
        NotReady: one of them is no number.
    """
    return Options(
        event_id=parsed.event_id.strip(),
        capacity=int(_number(parsed, "capacity")),
        price=int(_number(parsed, "price")),
        tickets_per_hold=int(_number(parsed, "tickets_per_hold")),
        door_tickets=int(_number(parsed, "door_tickets")),
        think_seconds=_number(parsed, "think_seconds"),
        tokens_file=parsed.tokens_file,
        sandbox_url=parsed.sandbox_url.rstrip("/"),
        organizer_token=parsed.organizer_token,
        webhook_secret=parsed.webhook_secret,
        open_loop=parsed.loop == OPEN,
        arrivals_per_second=_number(parsed, "arrivals_per_second"),
        patience_seconds=_number(parsed, "patience_seconds"),
        objectives=Objectives(
            error_percent=_number(parsed, "max_error_percent"),
            p95_ms=_maybe(parsed, "max_p95_ms"),
            turned_away_percent=_maybe(parsed, "max_turned_away_percent"),
            skipped_percent=_maybe(parsed, "max_skipped_percent"),
        ),
        verdict_file=parsed.verdict_file,
        users=parsed.num_users,
        run_seconds=parsed.run_time,
    )


def _maybe(parsed: Namespace, name: str) -> float | None:
    return _number(parsed, name) if getattr(parsed, name).strip() else None


def _number(parsed: Namespace, name: str) -> float:
    text = getattr(parsed, name)
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise NotReady(f"--{name.replace('_', '-')} is {text!r}, and must be a number, 0 or more")
    return number
