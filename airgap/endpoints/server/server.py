"""`ImageServer`: its life from bind to close."""

import threading
from collections.abc import Sequence
from typing import Self

from airgap.endpoints.server.catalogue import NamedSource, build
from airgap.endpoints.server.http import HttpServer, Log
from airgap.errors import EndpointError, in_words

_PATIENCE = 5.0
_POLL = 0.05


def _silent(_line: str) -> None:
    """No log."""


class ImageServer:
    """Serves what `sources` hold, read only, without a login and in plain HTTP.

    Sources are read once at the start for their names and image manifests; blobs are read and checked
    when they are asked for. Whether a bundle may be trusted must be settled before. As a context
    manager it serves from a thread of its own; otherwise `serve_forever` does until it is interrupted.
    `log` gets one line for each request and error, from several threads. `idle_timeout` is in seconds.

    Raises what the sources raise, and `EndpointError` when the address cannot be had.
    """

    def __init__(
        self,
        sources: Sequence[NamedSource],
        bind: tuple[str, int] = ("127.0.0.1", 0),
        *,
        log: Log = _silent,
        idle_timeout: float = 60.0,
        max_connections: int = 128,
    ) -> None:
        catalogue = build(sources)
        self.repositories = tuple(sorted(catalogue.repositories))
        """The names under which images are served."""
        self.registries = catalogue.registries
        """The registries that the images are named after."""
        self.notes = catalogue.notes
        """What is not served, and why: one line each."""
        try:
            self._http = HttpServer(
                bind, catalogue, log, idle_timeout=idle_timeout, max_connections=max_connections
            )
        except (OSError, OverflowError) as error:
            raise EndpointError(
                "cannot listen", subject=f"{bind[0]}:{bind[1]}", got=in_words(error)
            ) from error
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """`HOST:PORT`, as it stands in image names."""
        host, port = self._http.server_address[:2]
        text = str(host)
        return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"

    def serve_forever(self) -> None:
        """Serve in this thread until an exception, such as `KeyboardInterrupt`, then close."""
        try:
            self._http.serve_forever(_POLL)
        finally:
            self.close()

    def close(self) -> None:
        """Stop listening, cut all connections, and wait for their threads. May be called twice."""
        self._http.prepare_close()
        if self._thread is not None:
            self._http.shutdown()
            self._thread.join()
            self._thread = None
        self._http.server_close()
        self._http.close_connections(_PATIENCE)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._http.serve_forever, args=(_POLL,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
