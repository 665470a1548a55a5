"""The sides that the tests of the command line use."""

from tests.cli.conftest import sites

__all__ = ["sites"]
