"""`ImageServer`: from bind to close."""

import threading
from collections.abc import Sequence
from typing import Self

from airgap.endpoints.ports import NamedSource
from airgap.endpoints.server.catalogue import build
from airgap.endpoints.server.exchange import Log
from airgap.endpoints.server.http import HttpServer
from airgap.endpoints.server.slots import Limits
from airgap.errors import EndpointError, describe_cause


def _silent(_line: str) -> None:
    """No log."""


class ImageServer:
    """Serves what `sources` hold, read only, without a login and in plain HTTP.

    Sources are read once at the start for their names and image manifests; blobs are read and checked when
    they are requested. A bundle must have been verified before. As a context manager it serves from its own
    thread; otherwise `serve_forever` serves until it is interrupted. `log` gets one line for each request and
    error. See `Limits` for the limits.

    Raises what the sources raise, and `EndpointError` if the address is not available.
    """

    def __init__(
        self,
        sources: Sequence[NamedSource],
        bind: tuple[str, int] = ("127.0.0.1", 0),
        *,
        log: Log = _silent,
        idle_timeout: float = 60.0,
        max_connections: int = 256,
        stall_timeout: float = 3.0,
        min_rate: float = 10_000,
    ) -> None:
        catalogue = build(sources)
        self.repositories = tuple(sorted(catalogue.repositories))
        """The names under which images are served."""
        self.registries = catalogue.registries
        """The registries that the images are named after."""
        self.notes = catalogue.notes
        """One line for each image that is not served, with the reason."""
        try:
            limits = Limits(max_connections, idle_timeout, stall_timeout, min_rate)
            self._http = HttpServer(bind, catalogue, log, limits)
        except (OSError, OverflowError) as error:
            raise EndpointError(
                "cannot listen", subject=f"{bind[0]}:{bind[1]}", got=describe_cause(error)
            ) from error
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """`HOST:PORT`, as in image names."""
        host, port = self._http.host, self._http.port
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def serve_forever(self) -> None:
        """Serve in this thread until an exception, such as `KeyboardInterrupt`, then close."""
        try:
            self._http.run()
        finally:
            self.close()

    def close(self) -> None:
        """Stop listening, cut all connections, and wait for them to end. May be called twice."""
        self._http.stop()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._http.close()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._http.run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
