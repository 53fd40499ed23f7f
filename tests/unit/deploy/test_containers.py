"""The image, and what Compose and Kubernetes make of it."""

import fnmatch
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

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

DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()
KUBERAY = sorted(path.name for path in (ROOT / "deploy/kuberay").iterdir())
IMAGE = "onsale:0.1.0"


# -- the image ---------------------------------------------------------------------


def instructions(text: str) -> list[tuple[str, str]]:
    """Return what a Dockerfile says, a line for each instruction."""
    lines = re.sub(r"\\\n", " ", text).splitlines()
    said = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in said)]


def check_image(text: str) -> None:
    """Find what an image must not do. Raises Wrong."""
    said = instructions(text)
    bases = [rest for name, rest in said if name == "FROM"]
    if len(bases) < 2 or any(":" not in base or ":latest" in base for base in bases):
        raise Wrong("it is not built in a stage of its own, from an image with a version")
    last_stage = said[max(i for i, (name, _) in enumerate(said) if name == "FROM") :]
    users = [rest for name, rest in last_stage if name == "USER"]
    if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
        raise Wrong("it runs as root, or as somebody of whom Kubernetes cannot tell")
    if any(name == "ADD" for name, _ in said):
        raise Wrong("ADD may fetch anything from anywhere")
    for rest in (rest for name, rest in said if name == "RUN" and "pip install" in rest):
        if "--require-hashes" not in rest and "--no-deps" not in rest:
            raise Wrong(f"whatever the index has today: {rest}")
    for name, rest in said:
        if name == "ENV":
            variables = dict(word.split("=", 1) for word in rest.split())
            check_variables(variables)
            check_open_secrets(variables)


def test_the_image_runs_what_was_locked_and_as_nobody():
    check_image(DOCKERFILE)
    (run,) = (rest for name, rest in instructions(DOCKERFILE) if name == "CMD")
    check_command(json.loads(run))


@pytest.mark.parametrize(
    ("was", "is_now"),
    [
        ("USER 10001:10001", "USER root"),
        ("USER 10001:10001", ""),
        ("--require-hashes ", ""),
        ("python:3.11-slim-bookworm AS build", "python:latest AS build"),
        ("ENV PATH", "ENV ONSALE_AUTH_SECRET=abc PATH"),
    ],
)
def test_an_image_that_is_less_careful_is_found(was: str, is_now: str):
    assert was in DOCKERFILE
    with pytest.raises(Wrong):
        check_image(DOCKERFILE.replace(was, is_now))


def test_the_image_copies_what_is_there_and_reaches_docker():
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"]
    for rest in (rest for name, rest in instructions(DOCKERFILE) if name == "COPY"):
        if rest.startswith("--from"):
            continue
        *sources, _ = rest.split()
        for source in sources:
            assert (ROOT / source).exists(), source
            assert any(fnmatch.fnmatch(source, pattern) for pattern in let_in), source


# -- Compose -----------------------------------------------------------------------


def test_compose_starts_what_there_is():
    (compose,) = documents("deploy/compose.yaml")
    ours = {name: it for name, it in compose["services"].items() if it["image"] == IMAGE}
    assert set(ours) == {"head", "node", "gateway"}
    for service in ours.values():
        assert service["env_file"] == ["ray.env", "onsale.env"]
        check_variables(service.get("environment", {}))
        check_open_secrets(service.get("environment", {}))
        assert service["restart"] == "always"
        for words in started(service["command"]):
            check_command(words)
            assert "--block" in words or words[0] == "onsale"
        assert set(service.get("depends_on", {})) <= set(compose["services"])
    store = " ".join(compose["services"]["store"]["command"])
    for option in ("--appendonly yes", "--appendfsync always", "--maxmemory-policy noeviction"):
        assert option in store
    used = {
        volume.partition(":")[0]
        for it in compose["services"].values()
        for volume in it.get("volumes", [])
    }
    assert used == set(compose["volumes"])


def started(command: list[str]) -> list[list[str]]:
    """Return what a container starts of Ray and of us."""
    if command[:2] != ["bash", "-c"]:
        return [command]
    return [words for words in commands(command[2]) if words[0] in {"ray", "onsale"}]


# -- two processes in one container ------------------------------------------------


def scripts() -> dict[str, str]:
    """Return what the shells of gateways' containers run, as they get it."""
    (compose,), (pod,) = documents("deploy/compose.yaml"), objects("Deployment")
    (container,) = pod["spec"]["template"]["spec"]["containers"]
    # Compose would put a variable of its own in the place of what begins with one "$".
    return {
        "compose": compose["services"]["gateway"]["command"][2].replace("$$", "$"),
        "kubernetes": container["command"][2],
    }


_RAY = """#!/bin/sh
echo $$ > ray
exec sleep 60
"""
_ONSALE = """#!/bin/sh
trap 'echo answered what was asked > last-words; exit 0' TERM
echo $$ > onsale
sleep 60 & wait
"""


@pytest.fixture(params=["compose", "kubernetes"])
def container(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The shell of a gateway's container, with a Ray and a service that do nothing."""
    for name, script in {"ray": _RAY, "onsale": _ONSALE}.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(script)
        (tmp_path / "bin" / name).chmod(0o755)
    with subprocess.Popen(
        ["bash", "-c", scripts()[request.param]],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
        start_new_session=True,
    ) as shell:
        try:
            for name in ("ray", "onsale"):
                until(lambda name=name: (tmp_path / name).exists() and number(tmp_path / name) > 0)
            yield shell
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)


def number(path: Path) -> int:
    return int(path.read_text() or 0)


def until(so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20.0
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_gateways_container_ends_with_its_node_and_answers_first(
    container: subprocess.Popen[bytes], tmp_path: Path
):
    os.kill(number(tmp_path / "ray"), signal.SIGKILL)
    container.wait(20.0)
    assert (tmp_path / "last-words").exists()


def test_a_gateways_container_ends_with_its_gateways(
    container: subprocess.Popen[bytes], tmp_path: Path
):
    os.kill(number(tmp_path / "onsale"), signal.SIGKILL)
    assert container.wait(20.0) == 128 + signal.SIGKILL


def test_a_gateways_container_that_is_asked_to_stop_answers_first(
    container: subprocess.Popen[bytes], tmp_path: Path
):
    container.terminate()
    assert container.wait(20.0) == 0
    assert (tmp_path / "last-words").exists()


# -- Kubernetes --------------------------------------------------------------------


def objects(kind: str) -> list[dict[str, Any]]:
    every = [found for name in KUBERAY for found in documents(f"deploy/kuberay/{name}")]
    return [found for found in every if found["kind"] == kind]


def pods() -> Iterator[dict[str, Any]]:
    """Return the specifications of all pods."""
    (cluster,), (gateway,) = objects("RayCluster"), objects("Deployment")
    yield cluster["spec"]["headGroupSpec"]["template"]["spec"]
    for group in cluster["spec"]["workerGroupSpecs"]:
        yield group["template"]["spec"]
    yield gateway["spec"]["template"]["spec"]


def test_kustomize_has_every_file():
    (whole,) = objects("Kustomization")
    assert sorted(whole["resources"]) == [it for it in KUBERAY if it != "kustomization.yaml"]


def test_pods_have_the_environment_that_the_drills_prove_and_secrets_by_name_only():
    (settings,) = objects("ConfigMap")
    assert settings["data"] == env_file("deploy/ray.env")
    for pod in pods():
        (container,) = pod["containers"]
        assert {"configMapRef": {"name": settings["metadata"]["name"]}} in container["envFrom"]
        given = {it["name"]: it.get("value", "") for it in container["env"]}
        check_variables(given)
        check_open_secrets(given)
        (token,) = (it for it in container["env"] if it["name"] == "RAY_AUTH_TOKEN")
        reference = token["valueFrom"]["secretKeyRef"]
        assert reference == {"name": "onsale-ray-token", "key": "auth_token"}
    assert not objects("Secret")


def test_no_pod_runs_as_root_or_without_bounds():
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert f"USER {pod['securityContext']['runAsUser']}:" in DOCKERFILE
        (container,) = pod["containers"]
        assert container["image"] == IMAGE
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["resources"]["limits"]["memory"]
        assert container["readinessProbe"]
        assert container["livenessProbe"]


def test_the_head_takes_no_owners_and_nodes_do_not_die_with_it():
    (cluster,) = objects("RayCluster")
    head, (owners,) = cluster["spec"]["headGroupSpec"], cluster["spec"]["workerGroupSpecs"]
    assert head["labels"] == {"onsale-actors": "none"}
    flags = [f"--{name}={value}" for name, value in head["rayStartParams"].items()]
    assert {"--num-cpus=0", "--dashboard-host=127.0.0.1"} <= set(flags)
    (container,) = owners["template"]["spec"]["containers"]
    port = int(owners["rayStartParams"]["node-manager-port"])
    assert container["livenessProbe"]["tcpSocket"] == {"port": port}
    assert container["resources"]["limits"] == container["resources"]["requests"]


def test_gateways_are_asked_where_they_answer():
    documented = json.loads((ROOT / "docs/openapi.json").read_text())["paths"]
    (gateway,), (service,) = objects("Deployment"), objects("Service")
    (container,) = gateway["spec"]["template"]["spec"]["containers"]
    node, serving = (check_command(words) for words in started(container["command"]))
    assert "--labels=onsale-actors=none" in node
    (port,) = container["ports"]
    assert serving[serving.index("--port") + 1] == str(port["containerPort"])
    for probe, path in {"readinessProbe": "/readyz", "livenessProbe": "/livez"}.items():
        assert container[probe]["httpGet"] == {"path": path, "port": port["name"]}
        assert path in documented
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    labels = gateway["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == labels
    assert gateway["spec"]["selector"]["matchLabels"] == labels


def test_machines_are_drained_one_after_the_other():
    (cluster,), (gateway,) = objects("RayCluster"), objects("Deployment")
    in_cluster = {"ray.io/cluster": cluster["metadata"]["name"]}
    (owners,) = cluster["spec"]["workerGroupSpecs"]
    budgets = {
        budget["metadata"]["name"]: budget["spec"] for budget in objects("PodDisruptionBudget")
    }
    assert {name: budget["selector"]["matchLabels"] for name, budget in budgets.items()} == {
        "onsale-gateway": gateway["spec"]["template"]["metadata"]["labels"],
        "onsale-owners": in_cluster | {"ray.io/group": owners["groupName"]},
        "onsale-head": in_cluster | {"ray.io/node-type": "head"},
    }
    most = {name: budget["maxUnavailable"] for name, budget in budgets.items()}
    assert most == {"onsale-gateway": 1, "onsale-owners": 1, "onsale-head": 0}
