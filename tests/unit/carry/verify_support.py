"""What the tests of verification share."""

from airgap.bundle.files import Folder
from airgap.carry.verify import VerifiedBundle, verify, verify_content
from airgap.progress import Silent
from airgap.trust.keys import SigningKey
from tests.support.bundles import Gap, small_images

IMAGES = small_images()


BOB, OFFICER = SigningKey.generate(), SigningKey.generate("ed25519")


def check(gap: Gap, **changes) -> VerifiedBundle:
    with Folder(gap.bundle) as folder:
        return verify(folder, gap.receiver(**changes))


def check_all(gap: Gap) -> None:
    with Folder(gap.bundle) as folder:
        for error in verify_content(verify(folder, gap.receiver()), Silent(), 1):
            raise error
