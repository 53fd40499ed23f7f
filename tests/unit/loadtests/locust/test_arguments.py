"""Arguments come from the command line or from a form, and are checked."""

from argparse import ArgumentParser, Namespace
from typing import Any

import pytest

from loadtests.locust.arguments import add_arguments, read_options
from loadtests.locust.courses import COURSES
from loadtests.locust.preparing import NotReady


class Parser(ArgumentParser):
    """Takes what Locust's parser takes, and remembers where each argument is shown."""

    def __init__(self) -> None:
        self.shown: dict[str, bool] = {}
        self.secret: dict[str, bool] = {}
        self.variables: dict[str, str] = {}
        super().__init__(add_help=False)

    def add_argument(self, name: str, *more: Any, **kwargs: Any) -> Any:
        self.shown[name] = kwargs.pop("include_in_web_ui", True)
        self.secret[name] = kwargs.pop("is_secret", False)
        self.variables[name] = kwargs.pop("env_var", "")
        return super().add_argument(name, *more, **kwargs)


def parsed(*words: str) -> Namespace:
    parser = Parser()
    add_arguments(parser)
    return Namespace(num_users=None, run_time=None, **vars(parser.parse_args(words)))


def test_defaults_are_what_the_objectives_ask_for():
    options = read_options(parsed())
    asked = options.objectives
    assert (asked.error_percent, asked.p95_ms, asked.turned_away_percent) == (0, 500, 1)
    assert not options.open_loop
    assert options.users_over_time("Seed") == COURSES["Seed"]


def test_users_and_run_time_stretch_the_course():
    found = parsed()
    found.num_users, found.run_time = 50, 6
    course = read_options(found).users_over_time("Seed")
    assert (course.peak, round(course.seconds, 6)) == (50, 6)
    assert read_options(found).arrivals_over_time("Seed").peak == 200


def test_an_empty_objective_asks_for_nothing():
    asked = read_options(parsed("--max-p95-ms", "", "--max-turned-away-percent", "0")).objectives
    assert (asked.p95_ms, asked.turned_away_percent) == (None, 0)


@pytest.mark.parametrize("text", ["much", "-1", "nan", "inf", ""])
def test_what_is_no_number_is_named(text):
    with pytest.raises(NotReady, match="--capacity is"):
        read_options(parsed(f"--capacity={text}"))


def test_secrets_are_hidden_and_everything_has_a_variable():
    parser = Parser()
    add_arguments(parser)
    secrets = {name for name, secret in parser.secret.items() if secret}
    assert secrets == {"--organizer-token", "--webhook-secret"}
    assert parser.variables["--max-p95-ms"] == "ONSALE_LOAD_MAX_P95_MS"
    assert all(parser.variables.values())
    assert parser.shown["--event-id"]
    assert parser.shown["--capacity"]


def test_tokens_are_read_one_a_line(tmp_path):
    file = tmp_path / "buyers"
    file.write_text("a\nb\n")
    assert read_options(parsed("--tokens-file", str(file))).buyers() == ["a", "b"]
    assert read_options(parsed()).buyers() == []


def test_a_token_that_is_there_twice_is_no_two_buyers(tmp_path):
    file = tmp_path / "buyers"
    file.write_text("a\nb\na\n")
    with pytest.raises(NotReady, match="twice"):
        read_options(parsed("--tokens-file", str(file))).buyers()


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(NotReady, match="/none: No such file"):
        read_options(parsed("--tokens-file", "/none")).buyers()
