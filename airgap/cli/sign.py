"""Add a signature to a sealed bundle, after checking all of it.

If the trust root needs several signers, a bundle loads once enough of them have signed. Each signs the
bundle itself or a copy. Name all volumes together.

Example: airgap sign /media/stick/edge-stack-0007 --key bob
"""

from airgap.cli import console
from airgap.cli.options import Bundles, Jobs, Output, SigningChoice

NAME = "sign"
PANEL = "Both sides"


def run(
    bundle: Bundles,
    jobs: Jobs = 2,
    *,
    signing: SigningChoice,
    output: Output,
) -> None:
    from airgap.bundle.volumes import refuse_several
    from airgap.carry.sign import sign
    from airgap.cli.bundle_choice import take_bundles
    from airgap.cli.operator_prompt import make_operator

    bundle = take_bundles(bundle, NAME, any_site=True)
    refuse_several(bundle)
    operator = make_operator(jobs, output)
    done = sign(bundle, signing.signer(operator.site), operator)
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
        lines.append(f"it does not load yet: {done.wanted} needed")
    console.show_result(value, lines, output)
