"""Clusters for `ray up`, and the units of systemd."""

import configparser
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ray.autoscaler._private.util import prepare_config, validate_config

from actors.ray_environment import ENVIRONMENT
from tests.unit.deploy.checking import (
    ROOT,
    Wrong,
    check_command,
    check_open_secrets,
    check_variables,
    commands,
    documents,
    env_file,
)

CLUSTERS = ["ray_cluster.yaml", "ray_cluster.local.yaml"]
UNITS = sorted(path.name for path in (ROOT / "deploy/systemd").iterdir())
#: What an operator makes; docs/CLUSTER.md says how.
_MADE = {"~/.ray/auth_token", "dist", "deploy/onsale.env"}


def cluster(path: str) -> dict[str, Any]:
    (found,) = documents(path)
    return found


@pytest.mark.parametrize("path", CLUSTERS)
def test_ray_takes_the_cluster(path: str):
    validate_config(prepare_config(cluster(path)))


def test_ray_would_refuse_a_cluster_that_is_wrong():
    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepare_config(cluster(CLUSTERS[0]) | {"head_start_commands": []}))


@pytest.mark.parametrize("path", CLUSTERS)
def test_a_cluster_starts_what_there_is_with_what_there_is(path: str):
    config = cluster(path)
    lines = [line for name in config if name.endswith("_commands") for line in config[name]]
    started = [check_command(words) for line in lines for words in commands(line)]
    assert sum("--head" in words for words in started) == 1
    assert sum("--address=$RAY_HEAD_IP:6379" in words for words in started) == 1
    # Each of them in the environment that the drills prove.
    assert all("ray.env" in line for line in lines if "ray start" in line)
    # And Ray's dashboard, which is the head's, knows where its pictures are.
    assert ["monitoring.env" in line for line in lines if "ray start" in line] == [
        "--head" in line for line in lines if "ray start" in line
    ]
    assert config["file_mounts"]["~/onsale/monitoring.env"] == "deploy/monitoring/ray.env"
    mounted = set(config["file_mounts"].values()) - _MADE
    assert not [source for source in mounted if not (ROOT / source).exists()]
    assert set(config["file_mounts"].values()) >= _MADE


def test_machines_of_aws_get_an_image_that_somebody_has_chosen_and_the_python_that_is_locked():
    """Without an image Ray takes one of 2018, and none that it or we could name has Python 3.11."""
    config = cluster(CLUSTERS[0])
    images = {kind["node_config"]["ImageId"] for kind in config["available_node_types"].values()}
    assert images == {"ami-00000000000000000"}, "one place to fill in"
    assert "FILL IN" in (ROOT / CLUSTERS[0]).read_text()
    assert "`ImageId`" in (ROOT / "docs/CLUSTER.md").read_text()
    setup = config["setup_commands"]
    bringing, making = (line for line in setup if "uv" in line)
    assert (
        setup.index(bringing)
        < setup.index(making)
        < setup.index(next(line for line in setup if "pip install" in line))
    )
    assert "--python 3.11 --seed /opt/onsale" in making
    assert not [line for line in setup if "python3.11" in line]
    assert [line for line in setup if "boto3" in line], "Ray asks AWS with it"


def test_actors_stay_away_from_the_head_that_aws_starts():
    head = cluster(CLUSTERS[0])["available_node_types"]["head"]
    assert head["resources"] == {"CPU": 0}
    assert head["labels"] == {"onsale-actors": "none"}


@pytest.mark.parametrize("words", ["up --gateway 2", "upp", "up --port eighty"])
def test_a_command_that_onsale_does_not_take_is_found(words: str):
    with pytest.raises(Wrong, match="onsale"):
        check_command(["/opt/onsale/bin/onsale", *words.split()])


@pytest.mark.parametrize(
    "words",
    [
        "--address=head:6379",
        "--head --disable-usage-stats --num-cpus=0 --dashboard-host=127.0.0.1",
        "--head --disable-usage-stats --num-cpus=0 --labels=onsale-actors=none",
        "--adress=head:6379 --disable-usage-stats",
    ],
)
def test_a_start_of_ray_that_is_not_as_it_should_be_is_found(words: str):
    with pytest.raises(Wrong):
        check_command(["ray", "start", *words.split()])


def test_what_machines_are_to_set_is_read_by_somebody_and_holds_no_secret():
    for path in ("deploy/ray.env", "deploy/onsale.env.example"):
        check_variables(env_file(path))
    check_open_secrets(env_file("deploy/ray.env"))
    assert env_file("deploy/ray.env")["RAY_AUTH_MODE"] == "token"


def test_no_more_cores_are_asked_for_before_a_sale_than_the_cluster_may_have():
    config = cluster(CLUSTERS[0])
    node = config["available_node_types"]["node"]
    assert node["node_config"]["InstanceType"] == "c7i.2xlarge", "of eight cores"
    asked = int(env_file("deploy/onsale.env.example")["ONSALE_PRESCALE_CORES"])
    assert 8 * node["min_workers"] < asked <= 8 * min(node["max_workers"], config["max_workers"])


def test_a_cluster_gets_the_environment_of_a_single_machine():
    assert ENVIRONMENT.items() <= env_file("deploy/ray.env").items()


@pytest.mark.parametrize("name", ["ONSALE_REDIS", "RAY_worker_nicenes", "STRIPE_KEY"])
def test_a_variable_that_nobody_reads_is_found(name: str):
    with pytest.raises(Wrong, match=name):
        check_variables([name])


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_starts_what_there_is_and_starts_it_again(name: str):
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment]
    text = (ROOT / "deploy/systemd" / name).read_text()
    unit.read_string(text)
    service = unit["Service"]
    (words,) = commands(service["ExecStart"])
    check_command(words)
    assert "--block" in words or Path(words[0]).name == "onsale"
    assert service["Restart"] == "always"
    assert service["User"] == "onsale"
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert "EnvironmentFile=/etc/onsale/ray.env" in lines
    of_head = "EnvironmentFile=-/etc/onsale/monitoring.env" in lines
    assert of_head == ("--head" in words)
    given = [line.partition("=")[2] for line in lines if line.startswith("Environment=")]
    variables = dict(word.split("=", 1) for words in given for word in words.split())
    check_variables(variables)
    check_open_secrets(variables)


def test_there_is_a_unit_for_the_head_for_a_node_and_for_gateways():
    assert UNITS == ["onsale-gateway.service", "onsale-head.service", "onsale-node.service"]
