"""What Locust loads: stories, shapes, arguments and the verdict.

locust -f loadtests/locust/locustfile.py OnSaleRush
"""

import functools
import sys
from typing import Any

import gevent
from locust import argument_parser, events, runners, stats
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from loadtests.locust.arguments import add_arguments
from loadtests.locust.courses import COURSES
from loadtests.locust.running import SHARE, Run
from loadtests.locust.shapes import (
    DRAIN_SECONDS,
    REPORT_SECONDS,
    DoubleWave,
    Ramp,
    Seed,
    Soak,
    Spike,
    Step,
)
from loadtests.locust.stories import (
    BrowseAndWatch,
    DoorRush,
    MixedDay,
    OnSaleRush,
    Purchase,
    WebhookStorm,
)

# Locust looks for classes among the names of this file.
__all__ = [
    "BrowseAndWatch",
    "DoorRush",
    "DoubleWave",
    "MixedDay",
    "OnSaleRush",
    "Purchase",
    "Ramp",
    "Seed",
    "Soak",
    "Spike",
    "Step",
    "WebhookStorm",
]

#: Of Locust's tables in a log: our names are short.
_NAME_WIDTH = 32
#: Seconds without a word after which a worker is missing. Three are soon over on a machine
#: that is loaded on purpose.
_HEARTBEATS = 10

events.init_command_line_parser.add_listener(add_arguments)


@events.init.add_listener
def _on_init(environment: Environment, **_: Any) -> None:
    run = environment.onsale = Run(environment)
    options, runner, hooks = environment.parsed_options, environment.runner, environment.events
    if not environment.stop_timeout:
        environment.stop_timeout = DRAIN_SECONDS
    _tune()
    hooks.test_start.add_listener(_on_start)
    hooks.test_stop.add_listener(_on_stop)
    if isinstance(runner, WorkerRunner):
        runner.register_message(SHARE, lambda msg, **_: run.receive(msg.data))
        hooks.report_to_master.add_listener(lambda data, **_: run.report(data))
        environment.process_exit_code = 0  # the master judges
        options.json_file = None  # each would write its own share over the whole
        return
    hooks.worker_report.add_listener(lambda client_id, data, **_: run.hear(client_id, data))
    hooks.quitting.add_listener(_on_quitting)
    hooks.quit.add_listener(lambda **_: _on_quit(environment))
    shape = environment.available_shape_classes.get(options.shape)
    if shape is not None:
        shape.runner = runner
        if options.num_users is None:  # else Locust says 1
            options.num_users = round(COURSES[options.shape].peak)
    environment.shape_class = shape
    if not options.user_classes and not options.class_picker:
        # All stories at once is a choice to be made, not a default.
        environment.user_classes = [OnSaleRush]


def _tune() -> None:
    """Change what Locust has no arguments for."""
    if not sys.stdout.isatty():
        stats.STATS_NAME_WIDTH = _NAME_WIDTH
    runners.HEARTBEAT_LIVENESS = _HEARTBEATS
    # A worker asks for them once for every argument of every message that starts users,
    # each time from a new parser: a tenth of a second, every second.
    argument_parser.default_args_dict = functools.cache(argument_parser.default_args_dict)


def _on_start(environment: Environment, **_: Any) -> None:
    run: Run = environment.onsale
    runner = environment.runner
    if not isinstance(runner, WorkerRunner) and not run.prepared and not run.prepare(None):
        gevent.spawn(runner.quit if environment.parsed_options.headless else runner.stop)
    elif not isinstance(runner, MasterRunner):
        run.begin()


def _on_stop(environment: Environment, **_: Any) -> None:
    run: Run = environment.onsale
    run.end()
    if environment.web_ui is not None:
        # The form stays, and may begin the next run.
        if isinstance(environment.runner, MasterRunner):
            gevent.sleep(REPORT_SECONDS)
        _judge(environment)
        sys.stdout.write(run.text)
        run.text = ""


def _on_quitting(environment: Environment, **_: Any) -> None:
    environment.runner.quit()  # the last counts have come when this returns
    _judge(environment)


def _on_quit(environment: Environment) -> None:
    if environment.parsed_options.json_file:  # Locust shows its tables, or keeps them as JSON
        stats.print_stats(environment.stats, current=False)
        stats.print_percentile_stats(environment.stats)
        stats.print_error_report(environment.stats)
    sys.stdout.write(environment.onsale.text)


def _judge(environment: Environment) -> None:
    run: Run = environment.onsale
    status = run.judge()
    if status is not None:
        environment.process_exit_code = status
