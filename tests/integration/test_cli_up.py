"""`onsale up` where something is in the way: one line that says what, and the remedy."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest

from tests.servers import running_store

#: Longest that it may take to say so, seconds: a slow machine starting Python, and no more.
_AT_ONCE_SECONDS = 15.0

Up = Callable[..., str]


@pytest.fixture
def up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Up:
    """Run the command as an operator does, and return the one line that it leaves."""
    for name in [name for name in os.environ if name.startswith(("ONSALE_", "RAY_", "STRIPE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ONSALE_DATA_DIR", str(tmp_path / "data"))

    def run(*options: str) -> str:
        began = time.monotonic()
        ended = subprocess.run(
            [sys.executable, "-m", "gateway.cli.main", "up", *(options or ("--port", "0"))],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert time.monotonic() - began < _AT_ONCE_SECONDS
        assert ended.returncode == 1, ended.stderr
        assert ended.stdout == ""
        lines = ended.stderr.strip().splitlines()
        assert len(lines) == 1, ended.stderr
        assert lines[0].startswith("onsale: ")
        return lines[0]

    return run


def test_a_port_that_is_in_use(up: Up) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = up("--port", str(port))
    assert str(port) in line
    assert "--port" in line


def test_a_redis_that_does_not_answer(up: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"redis://:secret@127.0.0.1:{nobody.getsockname()[1]}"
        monkeypatch.setenv("ONSALE_REDIS_URL", url)
        line = up()
    assert "no Redis answers at" in line
    assert "ONSALE_REDIS_URL" in line
    assert "secret" not in line


@pytest.mark.parametrize(
    ("setting", "value", "remedy"),
    [
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
        ("appendonly", "no", "appendonly yes"),
        ("appendfsync", "no", "appendfsync always"),
    ],
)
def test_a_redis_that_evicts_or_forgets(
    up: Up,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    value: str,
    remedy: str,
) -> None:
    with running_store(tmp_path / "other", settings={setting: value}) as store:
        monkeypatch.setenv("ONSALE_REDIS_URL", store.url)
        line = up()
    assert "the store cannot be used" in line
    assert remedy in line


def test_a_data_directory_that_is_in_use(up: Up, tmp_path: Path) -> None:
    code = (
        "import fcntl, sys, time; lock = open(sys.argv[1], 'w'); fcntl.flock(lock, fcntl.LOCK_EX);"
        "print('locked', flush=True); time.sleep(60)"
    )
    (tmp_path / "data").mkdir()
    lock = str(tmp_path / "data" / "lock")
    with subprocess.Popen([sys.executable, "-c", code, lock], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        line = up()
        other.kill()
    assert str(tmp_path / "data") in line
    assert "ONSALE_DATA_DIR" in line


def test_a_ray_cluster_that_is_not_there(up: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{nobody.getsockname()[1]}")
        line = up()
    assert "nothing answers at RAY_ADDRESS" in line


class _Guarded(grpc.GenericRpcHandler):
    """Stands for Ray's control service: knows one token, as Ray 2.60 does on the wire."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        given = dict(details.invocation_metadata).get("authorization", "")
        self.calls.append((details.method, given))

        def answer(_asked: bytes, context: grpc.ServicerContext) -> bytes:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken: missing or incorrect")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
def guarded() -> Iterator[tuple[str, _Guarded]]:
    """Address of a cluster that takes none of our tokens, and what it is asked."""
    handler = _Guarded()
    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=(handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", handler
    server.stop(0).wait()


@pytest.mark.parametrize("named", [True, False], ids=["set", "of the data directory"])
def test_a_ray_cluster_with_another_token(
    up: Up,
    tmp_path: Path,
    guarded: tuple[str, _Guarded],
    monkeypatch: pytest.MonkeyPatch,
    named: bool,
) -> None:
    address, cluster = guarded
    monkeypatch.setenv("RAY_ADDRESS", address)
    if named:
        monkeypatch.setenv("RAY_AUTH_TOKEN", "b" * 64)
    line = up()
    assert f"the Ray cluster at {address} refuses the token" in line
    assert ("RAY_AUTH_TOKEN" if named else str(tmp_path / "data" / "ray-token")) in line
    assert "b" * 64 not in line
    token = "b" * 64 if named else (tmp_path / "data" / "ray-token").read_text()
    assert cluster.calls == [("/ray.rpc.NodeInfoGcsService/CheckAlive", f"Bearer {token}")]


def test_a_token_file_that_is_not_there(
    up: Up, guarded: tuple[str, _Guarded], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", guarded[0])
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/nowhere/token")
    line = up()
    assert "/nowhere/token" in line
    assert guarded[1].calls == []
