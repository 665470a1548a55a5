"""Add a further signature to a sealed bundle, after a full check of it.

Where the trust root wants several people, a bundle loads when enough of them have signed. Each signs
where the bundle is, or a copy; all volumes are named together.

Example: airgap sign /media/stick/edge-stack-0007 --key bob
"""

from airgap.cli.options import Bundles, Debug, Jobs, Json, Key, PassphraseFile, Quiet

NAME = "sign"
PANEL = "Both sides"


def run(
    bundle: Bundles,
    key: Key = None,
    passphrase_file: PassphraseFile = None,
    jobs: Jobs = 2,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    from airgap.bundle.volumes import refuse_several
    from airgap.carry.sign import sign
    from airgap.carry.verify_recorded import refuse_others
    from airgap.cli import console, passphrase
    from airgap.cli.operator_prompt import make_operator

    refuse_others(bundle)
    refuse_several(bundle)
    here = make_operator(jobs, quiet=quiet)
    done = sign(bundle, here.site.signing_key(key, passphrase.existing(passphrase_file)), here)
    title = done.bundle.statement.title
    value = {
        "bundle": str(bundle[0]),
        "statement_sha256": done.bundle.statement_sha256,
        "owners": list(done.owners),
        "wanted": done.wanted,
        "fresh": done.fresh,
    }
    verb = "signed" if done.fresh else "signed already"
    lines = [f"{verb}: {title}, now by {', '.join(done.owners)}; every byte was checked"]
    if done.wanted is not None:
        lines.append(f"it does not load yet: wanted are {done.wanted}")
    console.show_result(value, lines, as_json=json)
