"""The archive of a Helm chart in a bundle, as a file for a folder."""

from airgap.carry.verify import VerifiedBundle
from airgap.carry.verify_small_files import VerifiedImage
from airgap.limits import MAX_JSON_BYTES
from airgap.oci.files_artifact import CarriedFile, FileMode, check_file_name
from airgap.oci.helm_chart import CHART_CONFIG, CHART_LAYER
from airgap.oci.strict_json import Fields, parse_object


def archive_of(image: VerifiedImage, bundle: VerifiedBundle) -> tuple[CarriedFile, ...]:
    """Return the archive of a chart under the name that `helm pull` gives it, NAME-VERSION.tgz; nothing for
    any other image. Raises `FormatError` if the name could not be that of a file.
    """
    if len(image.graph.manifests) != 1:
        return ()
    manifest = image.graph.manifests[0].manifest
    layers = [layer for layer in manifest.layers if layer.media_type == CHART_LAYER]
    if manifest.config.media_type != CHART_CONFIG or len(layers) != 1:
        return ()
    raw = bundle.read(manifest.config.digest.path, MAX_JSON_BYTES)
    fields = Fields(parse_object(raw, str(image.name)), str(image.name))
    name = check_file_name(f"{fields.text('name')}-{fields.text('version')}.tgz", image.name)
    return (CarriedFile(name=name, mode=FileMode.DATA, digest=layers[0].digest, size=layers[0].size),)
