"""The base class of a file on a web server."""

from abc import abstractmethod

from airgap.endpoints.ports import ContentSource


class WebSource(ContentSource):
    """One file at an address of a web server, which is read as a blob."""

    @abstractmethod
    def measure(self) -> int:
        """Return the size of the file in bytes, as the server states it. Raises `EndpointError` if it does
        not.
        """
