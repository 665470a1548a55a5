"""Names at targets: each is one image's alone, and is asked for again before a load says that it is there."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from airgap.bundle.files import Folder
from airgap.carry.verify import VerifiedBundle, verify
from airgap.endpoints.archive import ArchiveFile
from airgap.errors import (
    AccessDeniedError,
    AmbiguousError,
    EndpointError,
    LoginError,
    UnavailableError,
    UsageError,
)
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.offline.holdings import Holdings
from airgap.offline.image_tar import ImageTar
from airgap.offline.load import load
from airgap.offline.loader import FAILED, LOADED, PLACED, THERE, LoadedImage, Loading
from airgap.progress import Silent
from tests.support.bundles import MULTI, ONE, TWO, make_gap, small_images
from tests.support.images import simple_image
from tests.support.memory import MemoryContent, MemoryEngine, MemoryFolder, MemoryStaging

IMAGES = small_images()
OTHER = Digest.of(b"another image")
Moves = Callable[[dict[str, Digest]], object]
NAMED = {
    "content": MemoryContent,
    "graph driver": MemoryEngine,
    "containerd store": lambda: MemoryEngine(keeps_index=True),
    "containerd": MemoryStaging,
    "podman": lambda: MemoryEngine(keeps_index=True, config_ids=True, one_platform=True),
}
AT_ALL = pytest.mark.parametrize("make", NAMED.values(), ids=NAMED)


def go(bundle: VerifiedBundle, target, **options) -> list[LoadedImage]:
    return load(target, Loading(bundle, Silent(), **{"jobs": 1, **options}))


def verdicts(results: list[LoadedImage]) -> list[str]:
    return [result.verdict for result in results]


CHANGES: dict[str, tuple[Moves, Digest | None]] = {
    "removed": (lambda names: names.pop(ONE), None),
    "moved": (lambda names: names.update({ONE: OTHER}), OTHER),
}
WHEN = pytest.mark.parametrize(("change", "after"), CHANGES.values(), ids=CHANGES)


class TestAskedAgain:
    @AT_ALL
    @WHEN
    def test_a_change_by_another_process_after_the_load_is_reported(self, bundle, make, change, after):
        target = make()
        sweeps, sweep = [], getattr(target, "sweep", lambda: None)

        def last() -> None:
            sweep()
            sweeps.append(dict(target.names))
            if len(sweeps) == 2:  # before a load, and after it
                change(target.names)

        target.sweep = last
        results = go(bundle, target)
        assert verdicts(results) == [FAILED, LOADED, LOADED]
        assert results[0].after == after
        assert "the target does not have the image under its name" in str(results[0].error)
        assert results[0].error.exit_code == 18

    @AT_ALL
    @WHEN
    def test_so_it_is_when_all_was_there(self, bundle, make, change, after):
        target = make()
        go(bundle, target)
        results = go(bundle, target, before_names_move=lambda: change(target.names))
        assert verdicts(results) == [FAILED, THERE, THERE]
        assert results[0].after == after

    @AT_ALL
    @pytest.mark.parametrize("error", [UnavailableError("away"), EndpointError("broken"), LoginError("out")])
    def test_a_target_that_does_not_answer_any_more(self, bundle, make, error):
        target = make()
        go(bundle, target)
        find = target.find

        def gone() -> None:
            def fail(reference: ImageReference) -> Digest | None:
                if str(reference) == TWO:
                    raise error
                return find(reference)

            target.find = fail

        results = go(bundle, target, before_names_move=gone)
        assert verdicts(results) == [THERE, FAILED, THERE]
        assert (results[1].error, results[1].after) == (error, None)

    def test_an_engine_that_moves_all_names_with_each_load(self, bundle):
        class Confused(MemoryEngine):
            def load(self, tar: Iterable[bytes]) -> None:
                super().load(tar)
                self.names = dict.fromkeys(self.names, self.names[list(self.names)[-1]])

        assert sorted(verdicts(go(bundle, Confused()))) == [FAILED, FAILED, LOADED]

    def test_a_registry_that_does_not_allow_reading(self, bundle):
        class Shut(MemoryContent):
            def find(self, reference: ImageReference) -> Digest | None:
                if self.log:
                    raise AccessDeniedError("denied", got="HTTP 403")
                return None

        results = go(bundle, Shut())
        assert verdicts(results) == [LOADED] * 3
        assert {result.reason for result in results} == {
            "the registry accepted it and does not allow reading it back: HTTP 403"
        }

    def test_denied_is_not_there_for_what_was_not_pushed(self, bundle):
        target = MemoryContent()
        go(bundle, target)

        def shut() -> None:
            def fail(_: ImageReference) -> Digest | None:
                raise AccessDeniedError("denied")

            target.find = fail

        assert verdicts(go(bundle, target, before_names_move=shut)) == [FAILED] * 3

    def test_what_failed_before_is_not_asked_for_again(self, gap, bundle):
        gap.flip(IMAGES[ONE].layers[1].path)
        target = MemoryContent()
        results = go(bundle, target)
        assert verdicts(results) == [FAILED, LOADED, LOADED]
        assert "wrong digest" in str(results[0].error)

    def test_an_image_that_is_gone_is_not_a_base(self, bundle, tmp_path):
        target, holdings = MemoryContent(lies=True), Holdings(tmp_path / "h.json")
        assert verdicts(go(bundle, target, holdings=holdings)) == [FAILED] * 3
        assert holdings.images == {}

    def test_an_engine_that_keeps_no_name_is_asked_for_the_image(self, tmp_path):
        image = simple_image("nameless")
        gap = make_gap(tmp_path, images={f"registry.test/x@{image.descriptor.digest}": image})
        with Folder(gap.bundle) as folder:
            bundle, target = verify(folder, gap.receiver()), MemoryEngine()
            assert verdicts(go(bundle, target)) == [LOADED]
            results = go(bundle, target, before_names_move=target.images.clear)
        assert verdicts(results) == [FAILED]

    def test_a_second_name_for_pods_counts_too(self, bundle):
        class Forgets(MemoryStaging):
            def is_named(self, image_id: Digest, reference: ImageReference) -> bool:
                return (str(reference) != ONE or len(self.log) < 6) and super().is_named(image_id, reference)

        assert verdicts(go(bundle, Forgets())) == [FAILED, LOADED, LOADED]


class TestFiles:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> MemoryFolder:
        (tmp_path / "images").mkdir()
        return MemoryFolder(tmp_path / "images")

    @pytest.mark.parametrize("harm", ["gone", "torn", "another's"])
    def test_an_archive_in_a_folder_is_looked_at_again(self, bundle, folder, harm):
        go(bundle, folder)

        def spoil() -> None:
            path = folder.path_of(ONE)
            if harm == "another's":
                path.write_bytes(folder.path_of(TWO).read_bytes())
            else:
                path.unlink() if harm == "gone" else path.write_bytes(b"torn")

        results = go(bundle, folder, before_names_move=spoil)
        assert verdicts(results) == [FAILED, THERE, THERE]
        assert results[0].after is None

    def test_the_second_name_of_a_pinned_image_counts_too(self, tmp_path, folder):
        """An archive has both names of an image that was asked for by its digest; a pod may ask for either."""
        image = simple_image("pinned")
        gap = make_gap(tmp_path / "gap", images={ONE: image})
        pinned = ImageReference.parse(ONE).with_digest(image.descriptor.digest)
        gap.restate(images=tuple(replace(each, reference=pinned) for each in gap.statement.images))

        def lose() -> None:
            with Folder(gap.bundle) as bundle:
                tar = ImageTar(verify(bundle, gap.receiver()))
                tar.add_whole(tar.bundle.images[0], None)
                folder.put_archive(tar.bundle.images[0].name, tar.chunks(lambda _: None))

        with Folder(gap.bundle) as files:
            bundle = verify(files, gap.receiver())
            assert verdicts(go(bundle, folder)) == [PLACED]
            assert verdicts(go(bundle, folder)) == [THERE]
            assert verdicts(go(bundle, folder, before_names_move=lose)) == [FAILED]

    def test_archives_that_were_written_stay_placed(self, bundle, folder):
        assert verdicts(go(bundle, folder)) == [PLACED] * 3

    def test_one_file_for_all(self, bundle, tmp_path):
        assert verdicts(go(bundle, ArchiveFile(tmp_path / "all.tar"))) == [PLACED] * 3

    @pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_bytes(b"x" * 1024)])
    def test_one_file_that_is_not_there_after_all(self, bundle, tmp_path, harm):
        class Lost(ArchiveFile):
            def write(self, tar: Iterable[bytes]) -> None:
                super().write(tar)
                harm(tmp_path / "all.tar")

        results = go(bundle, Lost(tmp_path / "all.tar"))
        assert verdicts(results) == [FAILED] * 3

    def test_one_file_of_fewer_images(self, gap, bundle, tmp_path):
        class Short(ArchiveFile):
            def names(self) -> dict[ImageReference, Digest]:
                return {name: digest for name, digest in super().names().items() if str(name) != TWO}

        assert verdicts(go(bundle, Short(tmp_path / "all.tar"))) == [PLACED, FAILED, PLACED]

    def test_two_names_that_would_be_one_file_are_refused(self, bundle, folder):
        class Narrow(MemoryFolder):
            def path_of(self, reference: ImageReference) -> Path:
                return self.folder / reference.registry

        target = Narrow(folder.folder)
        with pytest.raises(UsageError, match="two images would have the same name at the target"):
            go(bundle, target)
        assert list(folder.folder.iterdir()) == []


HEX = Digest.of(b"x").hex
OWN = f"{ONE}@{IMAGES[ONE].descriptor.digest}"


SIGNED = {
    "of another image": (f"{ONE}@{OTHER}", "the name has the digest of another image"),
    "of a manifest of the same image": (
        f"registry.test/one@{IMAGES[ONE].config}",
        "the name has the digest of another image",
    ),
    "of another length": (f"{ONE}@sha512:{HEX}{HEX}", "the name has the digest of another image"),
    "another's name": (
        f"{TWO}@{IMAGES[ONE].descriptor.digest}",
        f"two images have the same name: statement.json: predicate, got {TWO}@{IMAGES[ONE].descriptor.digest} and {TWO}",
    ),
    "another's name in capitals": (
        TWO.replace("registry.test", "Registry.Test"),
        "two images have the same name",
    ),
    "another's name with the usual port": (
        TWO.replace("test/", "test:443/"),
        "two images have the same name",
    ),
    "a passing name": (f"airgap.invalid/loading/4194305:{HEX}", "airgap.invalid is reserved"),
    "in capitals": (f"AIRGAP.invalid:80/loading/4194305:{HEX}", "airgap.invalid is reserved"),
}


class TestTagAndDigest:
    """A name with both is the name with the tag, when the digest is the image's own (FORMAT.md §2.1)."""

    @AT_ALL
    def test_it_is_kept_by_its_tag(self, gap, make):
        target = make()
        gap.rename({ONE: OWN})
        with Folder(gap.bundle) as folder:
            bundle = verify(folder, gap.receiver())
            assert str(bundle.images[0].record.name) == OWN
            results = go(bundle, target)
            assert (verdicts(results), set(target.names)) == ([LOADED] * 3, {ONE, TWO, MULTI})
            assert str(results[0].image.name) == ONE
            assert verdicts(go(bundle, target)) == [THERE] * 3

    @pytest.mark.parametrize(("name", "words"), SIGNED.values(), ids=SIGNED)
    def test_what_a_signer_may_not_say(self, gap, name, words):
        gap.rename({ONE: name})
        with Folder(gap.bundle) as folder, pytest.raises(AmbiguousError) as caught:
            verify(folder, gap.receiver())
        assert words in str(caught.value)
