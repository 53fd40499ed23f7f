"""The store, whether a service runs on it or not."""

import contextlib
from collections.abc import Iterator

from engine.journal.embedded import EmbeddedStore, StoreDied
from gateway.cli.console import cannot_start, fail
from gateway.cli.surroundings import CannotStart, locked, running
from gateway.settings import Settings


@contextlib.contextmanager
def store_url(settings: Settings) -> Iterator[str]:
    """Give the URL of the store for the length of a block, the embedded one started if need be.

    Raises:
        typer.Exit: there is none; said in one line.
    """
    runtime = running(settings.data_dir)
    url = settings.redis_url or (runtime.redis_url if runtime else None)
    if url is not None:
        yield url
        return
    store = EmbeddedStore(settings.data_dir / "valkey")
    if not store.directory.exists():
        raise fail(f"there is no data in {settings.data_dir}; set ONSALE_DATA_DIR")
    with contextlib.ExitStack() as exits:
        try:
            exits.enter_context(locked(settings.data_dir))
            exits.callback(store.stop)
            store.start()
        except CannotStart as error:
            raise cannot_start(error) from error
        except StoreDied as error:
            raise fail(f"the embedded store did not start: {error}") from error
        yield store.url
