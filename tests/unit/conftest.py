"""A bundle cut over three volumes, for the tests of volumes."""

import pytest

from tests.support.bundles import Gap, make_gap
from tests.support.volumes import Volumes, cut_over, in_turn, layers_in, noisy_images


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Gap:
    return make_gap(tmp_path_factory.mktemp("gap"), images=noisy_images())


@pytest.fixture(scope="session")
def cut(made, tmp_path_factory) -> Volumes:
    layers = layers_in(made.bundle)
    return cut_over(made.bundle, tmp_path_factory.mktemp("cut"), in_turn(layers, 3), of=3)


@pytest.fixture
def volumes(cut, tmp_path) -> Volumes:
    return cut.copy(tmp_path)


@pytest.fixture(scope="session")
def parted(made) -> str:
    """The blob that is in five parts, the last three of them on volume 3."""
    layers = layers_in(made.bundle)
    return max(layers, key=lambda name: (layers[name], name))


@pytest.fixture(scope="session")
def lone(cut, parted) -> str:
    """A blob that is on volume 2 in one file."""
    names = ("blobs/" + each["blob"].replace(":", "/") for each in cut.table()["blobs"])
    return next(name for name in names if name != parted and cut.on(name)[0][0] == 2)
