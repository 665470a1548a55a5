"""The receipt: the offline side's own account of what it verified and loaded.

The signature is checked elsewhere. The receipt is an in-toto Statement v1 in ASCII, in exactly one form: each
subject, image and field is on its own line, without spaces, so that people can review what leaves a closed
network, and grep can search it.
"""

from dataclasses import KW_ONLY, asdict, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from airgap.audit.chain import LedgerCheckpoint
from airgap.audit.record import Outcome
from airgap.errors import FormatError
from airgap.limits import MAX_JSON_BYTES
from airgap.oci.digest import Digest
from airgap.oci.in_toto import StatementFields, json_lines, one_of, sha256_in, statement_bytes
from airgap.oci.reference import ImageReference
from airgap.oci.strict_json import Fields, dump
from airgap.times import format_time
from airgap.values import dataclass

PREDICATE_TYPE = "urn:airgap:receipt:v1"

RESULTS = (Outcome.OK, Outcome.PARTIAL, Outcome.FAILED, Outcome.REFUSED)
_CLAIM = "claimed_operator"
_STEP_BACK = "step_back"
_PRUNED = "pruned"


class Verdict(StrEnum):
    """The outcome for an image at the target."""

    LOADED = "loaded"
    """The target itself reports that it has the image."""
    THERE = "already there"
    """The target already had the image, so it was not sent."""
    PLACED = "placed"
    """An archive of the image, which is imported later, was written into a node's images folder or a file; or
    files were written into a folder."""
    SKIPPED = "skipped"
    """The target does not accept this kind of content. Only a folder for files skips a runnable image."""
    FAILED = "failed"
    REFUSED = "refused"
    """Only in receipts of older versions."""


FILES_TARGET = "files:"
"""The beginning of the name of a target that is a folder for files."""
VERDICTS = tuple(str(verdict) for verdict in Verdict)
CONTENT_ONLY = "content only"
"""The beginning of the reason of an image that got no name, because a newer bundle has it."""
PRESENT = frozenset({Verdict.LOADED, Verdict.PLACED, Verdict.THERE})
"""The verdicts of an image that has arrived."""


@dataclass(frozen=True, slots=True)
class ReceiptImage:
    """The outcome for one image of the bundle."""

    reference: str
    """The name at the target, in full."""
    digest: str
    """The digest in the bundle's statement."""
    verdict: Verdict
    _: KW_ONLY
    target_digest: str | None = None
    """The image ID or manifest digest at the target now; None if the target does not have the image."""
    before: str | None = None
    """The digest that the name had at the target before; None if the name was unused."""
    error: str | None = None
    reason: str | None = None
    """Why the image was skipped, or why its form at the target differs from the bundle: another digest, or no
    name. Omitted from the receipt if there is none, as in receipts of older versions."""


@dataclass(frozen=True, slots=True)
class StepBack:
    """A person's decision to load a bundle again that is older than the newest accepted one, or expired."""

    reason: str
    epoch: int
    serial: int
    statement_sha256: str
    """These three are the place of the newest accepted bundle, which stays the newest."""

    @property
    def value(self) -> dict[str, object]:
        """The JSON value in a receipt."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class PrunedName:
    """A name that an earlier bundle of the stream brought to the target, and that the load removed there."""

    reference: str
    """The name, in full."""
    target_digest: str
    """What it referred to: the image ID or manifest digest."""

    @property
    def value(self) -> dict[str, str]:
        """The JSON value in a receipt."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The result of loading one bundle into one target of one site."""

    site: str
    bundle_stream: str
    serial: int
    epoch: int
    statement_sha256: str
    time: datetime
    """UTC, in whole seconds."""
    result: Outcome
    target: str
    target_version: str
    images: tuple[ReceiptImage, ...]
    keyids: tuple[str, ...]
    """The keys whose signatures on the bundle counted."""
    threshold: int
    root_version: int
    checkpoint: LedgerCheckpoint = field(hash=False)
    """The checkpoint of the receiver's ledger."""
    holds: tuple[str, ...]
    """The digests of the blobs that the target holds now: the base of the next delta."""
    operator: str
    """The kernel's user of the process that loaded the bundle: `account.user_name`."""
    tool_version: str
    target_engine: str = ""
    """The engine of the target: product, version, machine and address. Omitted from the receipt if it is not
    known, as in receipts of older versions."""
    claimed_operator: str | None = None
    """The user who became that user with su or sudo, if recorded: `account.claimed_user`. Omitted from the
    receipt if None, as in receipts of older versions.
    """
    step_back: StepBack | None = None
    """Omitted from the receipt if None."""
    pruned: tuple[PrunedName, ...] = ()
    """Omitted from the receipt if empty."""

    @property
    def title(self) -> str:
        """The title of the bundle, such as `stack-0007`."""
        return f"{self.bundle_stream}-{self.serial:04d}"

    @property
    def by(self) -> str:
        """The user who loaded it, for people: `root`, or `root (claims to act for alice)`."""
        claim = self.claimed_operator
        return self.operator if claim is None else f"{self.operator} (claims to act for {claim})"

    def to_bytes(self) -> bytes:
        """Return the canonical bytes. Raises `FormatError` for an invalid image digest; other values are
        checked only by `parse`.
        """
        predicate = {
            "site": dump(self.site),
            "bundle": dump(
                {
                    "stream": self.bundle_stream,
                    "serial": self.serial,
                    "epoch": self.epoch,
                    "statement_sha256": self.statement_sha256,
                }
            ),
            "time": dump(format_time(self.time)),
            "result": dump(self.result),
            "target": dump(self._target()),
            "images": json_lines([_image_json(image) for image in self.images]),
            "keyids": json_lines(list(self.keyids)),
            "threshold": dump(self.threshold),
            "root_version": dump(self.root_version),
            "checkpoint": dump({key: self.checkpoint[key] for key in ("origin", "size", "root")}),
            "holds": json_lines(list(self.holds)),
            "operator": dump(self.operator),
            **({} if self.claimed_operator is None else {_CLAIM: dump(self.claimed_operator)}),
            **({} if self.step_back is None else {_STEP_BACK: dump(self.step_back.value)}),
            **({_PRUNED: json_lines([name.value for name in self.pruned])} if self.pruned else {}),
            "tool": dump({"name": "airgap", "version": self.tool_version}),
        }
        return statement_bytes(self._subjects(), PREDICATE_TYPE, predicate)

    def _target(self) -> dict[str, str]:
        engine = {"engine": self.target_engine} if self.target_engine else {}
        return {"name": self.target, "version": self.target_version, **engine}

    def _subjects(self) -> list[dict[str, Any]]:
        subjects = [{"name": "statement.json", "digest": {"sha256": self.statement_sha256}}]
        for image in self.images:
            digest = Digest.parse(image.digest, f"digest of {image.reference}")
            subjects.append({"name": image.reference, "digest": {digest.algorithm: digest.hex}})
        return subjects

    @classmethod
    def parse(cls, raw: bytes, where: str = "receipt") -> Self:
        """Read authenticated bytes of at most 4 MiB; the inverse of `to_bytes`.

        Raises `FormatError` for any bytes that `to_bytes` would not have written, also for unknown fields. It
        does not check whether the bundle and the keys exist.
        """
        statement = StatementFields.of(raw, where, PREDICATE_TYPE, "receipt", MAX_JSON_BYTES)
        statement.top.items("subject")
        parsed = cls._from_predicate(statement.predicate, statement.version)
        statement.end(parsed.to_bytes())
        return parsed

    @classmethod
    def _from_predicate(cls, fields: Fields, version: str) -> Self:
        bundle, target, checkpoint = (fields.child(key) for key in ("bundle", "target", "checkpoint"))
        found = cls(
            site=fields.text("site"),
            bundle_stream=bundle.text("stream"),
            serial=bundle.integer("serial"),
            epoch=bundle.integer("epoch"),
            statement_sha256=sha256_in(bundle, "statement_sha256"),
            time=fields.time("time"),
            result=Outcome(one_of(RESULTS, fields, "result")),
            target=target.text("name"),
            target_version=target.text("version"),
            target_engine=target.optional_text("engine") or "",
            images=tuple(_parse_image(image) for image in fields.children("images")),
            keyids=tuple(_sha256(keyid, fields, "keyids") for keyid in fields.texts("keyids")),
            threshold=fields.integer("threshold"),
            root_version=fields.integer("root_version"),
            checkpoint={
                "origin": checkpoint.text("origin"),
                "size": checkpoint.integer("size"),
                "root": sha256_in(checkpoint, "root"),
            },
            holds=tuple(_digest(text, fields, "holds") for text in fields.texts("holds")),
            operator=fields.text("operator"),
            claimed_operator=fields.optional_text(_CLAIM),
            step_back=_parse_step_back(fields.child(_STEP_BACK)) if fields.has(_STEP_BACK) else None,
            pruned=tuple(_parse_pruned(item) for item in fields.children(_PRUNED))
            if fields.has(_PRUNED)
            else (),
            tool_version=version,
        )
        for child in (bundle, target, checkpoint):
            child.end()
        return found


def _parse_step_back(fields: Fields) -> StepBack:
    step_back = StepBack(
        reason=fields.text("reason"),
        epoch=fields.integer("epoch"),
        serial=fields.integer("serial"),
        statement_sha256=sha256_in(fields, "statement_sha256"),
    )
    fields.end()
    return step_back


def _image_json(image: ReceiptImage) -> dict[str, Any]:
    reason = {} if image.reason is None else {"reason": image.reason}
    return {
        "reference": image.reference,
        "digest": image.digest,
        "verdict": str(image.verdict),
        "target_digest": image.target_digest,
        "before": image.before,
        "error": image.error,
        **reason,
    }


def _parse_pruned(fields: Fields) -> PrunedName:
    found = PrunedName(_reference(fields), _digest(fields.text("target_digest"), fields, "target_digest"))
    fields.end()
    return found


def _reference(fields: Fields) -> str:
    reference = fields.text("reference")
    if str(ImageReference.parse(reference, fields.where)) != reference:
        raise FormatError("not a full image reference", subject=fields.where, got=repr(reference))
    return reference


def _parse_image(fields: Fields) -> ReceiptImage:
    found = ReceiptImage(
        _reference(fields),
        _digest(fields.text("digest"), fields, "digest"),
        Verdict(one_of(VERDICTS, fields, "verdict")),
        target_digest=_optional_digest(fields, "target_digest"),
        before=_optional_digest(fields, "before"),
        error=fields.optional_text("error"),
        reason=fields.text("reason") if fields.has("reason") else None,
    )
    fields.end()
    return found


def _digest(text: str, fields: Fields, key: str) -> str:
    return str(Digest.parse(text, f"{fields.where}: {key}"))


def _optional_digest(fields: Fields, key: str) -> str | None:
    text = fields.optional_text(key)
    return None if text is None else _digest(text, fields, key)


def _sha256(text: str, fields: Fields, key: str) -> str:
    return Digest.parse(f"sha256:{text}", f"{fields.where}: {key}").hex
