"""The embedded server: one for each directory, ours alone, and nothing is lost with it."""

import os
import signal
import stat
from pathlib import Path

import pytest
from redis import Redis

from engine.journal.embedded import EmbeddedStore, StoreDied
from tests.servers import running_store


def put(store: EmbeddedStore, value: str) -> None:
    with Redis.from_url(store.url) as client:
        client.set("key", value)


def got(store: EmbeddedStore) -> bytes | None:
    with Redis.from_url(store.url) as client:
        return client.get("key")


def is_running(pid: int) -> bool:
    """Tell whether the process is there and not merely waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A directory whose path is longer than a socket's may be."""
    return tmp_path / ("deep" * 20) / ("deeper" * 10)


def test_a_store_answers_once_it_is_started_and_ends_when_it_is_stopped(tmp_path: Path) -> None:
    with running_store(tmp_path / "not there yet") as store:
        pid = store.pid
        assert store.alive()
        assert store.answers()
        assert is_running(pid)
    assert not store.alive()
    assert not store.answers()
    assert not is_running(pid)


@pytest.mark.parametrize("end", [EmbeddedStore.stop, EmbeddedStore.kill], ids=["stop", "kill"])
def test_what_was_written_is_there_after_a_restart(end, own: EmbeddedStore) -> None:
    put(own, "value")
    end(own)
    assert not own.alive()
    own.start()
    assert got(own) == b"value"


def test_a_store_gets_no_huge_pages_with_those_of_owners(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    monkeypatch.setenv("SOMETHING_ELSE", "kept")
    # By its title it would write over what the kernel shows of its environment.
    with running_store(tmp_path, settings={"set-proc-title": "no"}) as store:
        environment = Path(f"/proc/{store.pid}/environ").read_bytes().split(b"\0")
    assert b"SOMETHING_ELSE=kept" in environment
    assert not any(variable.startswith(b"GLIBC_TUNABLES=") for variable in environment)


def test_a_store_that_was_not_started_may_be_stopped_and_killed(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    store.kill()
    store.stop()
    assert not store.alive()
    with pytest.raises(AssertionError):
        _ = store.pid


def test_a_store_may_be_stopped_twice(own: EmbeddedStore) -> None:
    own.stop()
    own.stop()


def test_a_frozen_store_is_stopped_in_good_order(own: EmbeddedStore) -> None:
    put(own, "value")
    os.kill(own.pid, signal.SIGSTOP)
    own.stop()
    own.start()
    assert got(own) == b"value"


def test_nobody_else_can_reach_the_store(own: EmbeddedStore) -> None:
    mode = Path(own.url.removeprefix("unix://")).stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o700
    with Redis.from_url(own.url) as client:
        assert client.config_get("port") == {"port": "0"}
        assert client.config_get("bind") == {"bind": "127.0.0.1"}


def test_the_store_outlives_an_interrupt_of_the_terminal(own: EmbeddedStore) -> None:
    assert os.getsid(own.pid) == own.pid != os.getsid(0)


def test_settings_of_the_caller_win(tmp_path: Path) -> None:
    with (
        running_store(tmp_path, settings={"appendfsync": "everysec"}) as store,
        Redis.from_url(store.url) as client,
    ):
        assert client.config_get("appendfsync") == {"appendfsync": "everysec"}


def test_a_server_that_cannot_start_says_why_and_leaves_nothing_running(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path, settings={"no-such-setting": "1"})
    with pytest.raises(StoreDied, match="no-such-setting"):
        store.start()
    assert not store.alive()


# -- directories that are deep, and servers left behind --------------------------------


def test_a_directory_may_be_deeper_than_a_socket(deep: Path) -> None:
    with running_store(deep) as store:
        put(store, "value")
        assert len(store.url) < 107
    with running_store(deep) as store:
        assert got(store) == b"value"


@pytest.mark.parametrize("name", ["two words", "a?b=c", "a#b", "a%20b", "ä{p00}"])
def test_a_directory_may_have_any_name(name: str, tmp_path: Path) -> None:
    with running_store(tmp_path / name) as store:
        put(store, "value")
        assert (tmp_path / name / "valkey.sock").is_socket()


@pytest.mark.parametrize("where", ["shallow", "deep"])
def test_a_server_left_behind_is_ended_before_another_takes_its_directory(
    where: str, tmp_path: Path, deep: Path
) -> None:
    directory = deep if where == "deep" else tmp_path
    with running_store(directory) as orphan:
        put(orphan, "value")
        with running_store(directory) as store:
            assert not orphan.alive()
            assert store.pid != orphan.pid
            assert got(store) == b"value"


def test_no_second_server_writes_to_a_directory_while_the_first_cannot_be_ended(
    own: EmbeddedStore,
) -> None:
    put(own, "first")
    os.kill(own.pid, signal.SIGSTOP)
    second = EmbeddedStore(own.directory)
    try:
        with pytest.raises(StoreDied, match="another server"):
            second.start(timeout_seconds=0.1)
        assert not second.alive()
    finally:
        second.stop()
        os.kill(own.pid, signal.SIGCONT)
    assert own.alive()
    own.stop()
    second.start()
    assert got(second) == b"first"
    second.stop()


def test_a_store_started_again_while_it_runs_is_still_one_server(own: EmbeddedStore) -> None:
    put(own, "value")
    first = own.pid
    own.start()
    assert not is_running(first)
    assert got(own) == b"value"
