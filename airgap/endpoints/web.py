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

    @abstractmethod
    def read(self, limit: int) -> bytes:
        """Return the whole file. Raises `EndpointError` if it has more than `limit` bytes."""

    @abstractmethod
    def follow(self, location: str) -> str:
        """Return the address that the file names as `location`, absolute or relative. Raises `EndpointError`
        for one to which a redirect from here would not be followed.
        """
