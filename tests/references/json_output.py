"""The `--json` output of every command: its keys, their types, and one meaning for each.

A key has the same type and meaning wherever it stands, unless the table of a command says otherwise (`own`).
"""

from collections.abc import Mapping
from typing import Any

from airgap.audit.receipt import VERDICTS
from airgap.carry.compare_images import Change
from airgap.cli.version import JSON_VERSION
from airgap.review.compare_target import State
from airgap.review.receipts import ImportState

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}


def optional(schema: Schema) -> Schema:
    """The schema of a value that may be null."""
    return {"anyOf": [schema, {"type": "null"}]}


def items(schema: Schema) -> Schema:
    """The schema of a list."""
    return {"type": "array", "items": schema}


def one_of(*words: str) -> Schema:
    return {"enum": list(words)}


def mapping(schema: Schema | None = None) -> Schema:
    """The schema of an object with any keys."""
    return {"type": "object", "additionalProperties": {} if schema is None else schema}


KEYS: dict[str, tuple[Schema, str]] = {
    "address": (TEXT, "the address that the server listens on"),
    "adopted": (items(TEXT), "bundles that were sealed after the backup, whose serials are not used again"),
    "after": (optional(TEXT), "the digest that the name has at the target now"),
    "alarms": (items(TEXT), "disagreements that a person must investigate"),
    "algorithm": (TEXT, "the algorithm of the key"),
    "as": (TEXT, "the name of the image on the receiving side"),
    "attachments_unknown": ({}, "images whose attachments (signatures, SBOMs) are not known, and why"),
    "backwards": (items(NUMBER), "ledger lines that are older than the line before"),
    "backup": (TEXT, "the path of the backup"),
    "bases": (items(TEXT), "what the site has: receipts and bundles; empty if the site does not count"),
    "before": (optional(TEXT), "the digest that the name had at the target before"),
    "blobs": (NUMBER, "the number of blobs"),
    "blobs_held": (NUMBER, "the number of blobs that the target holds now"),
    "blobs_written": (NUMBER, "the number of blobs that were written"),
    "bundle": (TEXT, "the path of the bundle: its folder, its tar, or its first volume"),
    "bundles": ({}, "one value for each bundle"),
    "bytes": (NUMBER, "the total size in bytes"),
    "bytes_sent": (NUMBER, "the bytes that were sent"),
    "changes": (items(TEXT), "the changes, each as a sentence"),
    "checkpoint": ({}, "size and root hash of the receiver's ledger"),
    "claimed_operator": (optional(TEXT), "the user before su or sudo, by their own account"),
    "client": (TEXT, "the program that the settings are for"),
    "compared_with": (NUMBER, "the number of signed checkpoints that the ledger was compared with"),
    "content": (TEXT, "the content of the file"),
    "copy": (optional(TEXT), "the folder with the checked copy"),
    "count": (NUMBER, "the number of blobs that are left out"),
    "counts": (mapping(NUMBER), "the number of bundles by state, and of loads, refusals and alarms"),
    "content_from": (items(TEXT), "older bundles that had content for this one; their names were not set"),
    "created": (TIME, "when the bundle was made"),
    "destinations": (items(TEXT), "the sites that the bundle is for; empty for any site"),
    "details": (mapping(), "everything else in the ledger's record"),
    "digest": (TEXT, "the digest of the image"),
    "digest_kind": (one_of("manifest", "image_id"), "what the digests identify: a manifest, or an image ID"),
    "disputed": (items(TEXT), "receipts that do not agree with the bundle"),
    "distinct_owners": (FLAG, "whether the signatures must be by different owners"),
    "engine": (optional(TEXT), "the engine of the target: product, version, machine and address"),
    "entries": ({}, "the entries of the ledger, from the first to the last"),
    "epoch": (NUMBER, "the epoch of the serials"),
    "error": ({}, "the first error; null if there is none"),
    "event": (TEXT, "the event: pack, load, verify, …"),
    "exit_code": (NUMBER, "the exit code of the command"),
    "expected": (optional(TEXT), "the digest that was loaded under the name"),
    "expires": (TIME, "when it expires"),
    "exports": (items(TEXT), "images whose size is known only when an engine saves them"),
    "failures": ({}, "the error of each image or host that failed, by name"),
    "files": (NUMBER, "the number of files"),
    "files_sent": (NUMBER, "the number of files that were sent"),
    "files_there": (NUMBER, "the number of files that the host had already"),
    "fingerprint": (optional(TEXT), "the SHA-256 of the trust root; null while it is only proposed"),
    "fits": (FLAG, "whether the bundle fits"),
    "folder": (optional(TEXT), "the folder on the host"),
    "found": ({}, "the matches"),
    "free": (optional(NUMBER), "free space in bytes"),
    "fresh": (FLAG, "true if this command did the work; false if it was already done"),
    "head": (TEXT, "the SHA-256 of the last ledger line"),
    "hint": (optional(TEXT), "what can be done about the error"),
    "hollow": (items(TEXT), "images of which the bundle has the index but no platform"),
    "home": (TEXT, "the folder of the site"),
    "host": (TEXT, "the address of the host"),
    "hosts": ({}, "one value for each host"),
    "images": ({}, "one value for each image"),
    "import": (one_of(*ImportState), "what was done with the receipt"),
    "installed": (FLAG, "whether the new trust root is installed here"),
    "json_version": (NUMBER, "the version of these schemas"),
    "kept": (optional(TEXT), "the path of the imported receipt"),
    "key": (TEXT, "the path of the private key"),
    "keyid": (TEXT, "the id of the key"),
    "keyids": (items(TEXT), "the ids of the keys"),
    "keys": (items(TEXT), "the ids of the keys whose signatures count"),
    "kind": (TEXT, "the kind of the image: image or artifact"),
    "ledger": ({}, "the state of the ledger"),
    "latest": (TIME, "the time of the last record in the ledger"),
    "ledger_lines": (NUMBER, "the number of lines of the ledger"),
    "left_out": (items(TEXT), "platforms that are not carried"),
    "load": ({}, "the result of loading the bundle on the host; null if it was not asked for"),
    "loaded": ({}, "the loads at this site"),
    "lock": (TEXT, "the path of the lock file"),
    "media": ({}, "the media, as far as they are known"),
    "message": (TEXT, "the error in one line"),
    "missed": (NUMBER, "the number of earlier bundles that never arrived here"),
    "missing": (items(TEXT), "the destinations that have confirmed neither this bundle nor a later one"),
    "name": (TEXT, "the name in the manifest"),
    "new_bytes": (optional(NUMBER), "bytes that only the second bundle has; null unless both are bundles"),
    "notes": (items(TEXT), "remarks for people"),
    "odd": ({}, "ledger entries of commands that were refused, that failed, or that did not end"),
    "open": (items(NUMBER), "ledger lines of commands that have no end"),
    "operator": (TEXT, "the user who ran the command"),
    "origin": (TEXT, "the site of the ledger"),
    "owner": (TEXT, "the owner of the key"),
    "owners": (items(TEXT), "the owners of the keys whose signatures count"),
    "path": (TEXT, "the path of a file or folder"),
    "pem": (TEXT, "the public key in PEM"),
    "platforms": (items(TEXT), "the platforms that are carried"),
    "platforms_by_default": (FLAG, "whether the platforms were chosen by default"),
    "proved_by": (optional(TEXT), "how the copy on the host was checked"),
    "python": (TEXT, "the version of Python"),
    "read_back": (TEXT, "whether the media were read back: ok, cached or skipped"),
    "reason": (optional(TEXT), "the reason"),
    "receipt": (TEXT, "the path of the receipt"),
    "receipt_copies": ({}, "the copies of the receipt, and why there is none"),
    "receipt_kept": (optional(TEXT), "the path of the receipt here, if it came back from the host"),
    "receipt_error": (optional(TEXT), "why the receipt did not come back"),
    "receipts": ({}, "one value for each receipt"),
    "recipients": ({}, "what is known of each destination of the bundle"),
    "reference": (TEXT, "the name of the image"),
    "refusal": (optional(TEXT), "why this site would refuse the bundle now"),
    "repeat": (FLAG, "whether the bundle was accepted here before"),
    "repositories": (items(TEXT), "the repositories that are served"),
    "requires": ({}, "the blobs that the bundle leaves out because the receiver has them"),
    "result": (TEXT, "the result: ok, partial, failed, refused, …"),
    "revoked": (items(TEXT), "the ids of the revoked keys"),
    "roles": ({}, "the roles of the trust root"),
    "root": (TEXT, "the Merkle root of the ledger"),
    "root_version": (NUMBER, "the version of the trust root that was used"),
    "sealed": (TIME, "when the bundle was sealed"),
    "sender": (optional(TEXT), "the site that sealed the bundle"),
    "sent": ({}, "the bundles that were sealed here"),
    "seq": (NUMBER, "the number of the ledger line"),
    "serial": (NUMBER, "the number of the bundle in its stream"),
    "settled": (one_of("clock", "files", "ledger"), "what was declared to be right"),
    "signed_by": (items(TEXT), "the ids of the keys that have signed"),
    "signers": (items(TEXT), "the keys that have signed, for people"),
    "saved_without": (NUMBER, "the bytes that could be left out as well if this site did not count"),
    "site": (TEXT, "the name of the site"),
    "site_bases": ({}, "what each receiving site has"),
    "sites": (mapping(items(TEXT)), "the receiving sites, and the ids of their keys"),
    "size": (NUMBER, "the number of ledger lines"),
    "snippets": ({}, "the settings of clients"),
    "spare_key": (optional(TEXT), "the path of the spare key, if one was asked for"),
    "source": (TEXT, "where the image comes from"),
    "spared_bytes": (NUMBER, "the bytes that are left out because the receiver has them"),
    "standing": (one_of("confirmed", "superseded", "incomplete", "missing"), "what the site answered"),
    "state": (TEXT, "how far the transfer to the host or the delivery of the bundle has come"),
    "statement_sha256": (TEXT, "the SHA-256 of the signed statement"),
    "stream": (TEXT, "the name of the series of bundles"),
    "superseded_by": (optional(TEXT), "the title of the later bundle that the site has confirmed"),
    "target": (TEXT, "where images are loaded"),
    "targets": (items(TEXT), "the platforms and Pythons that the kit is for"),
    "threshold": (NUMBER, "how many keys must sign"),
    "time": (optional(TIME), "when it happened"),
    "tool_version": (TEXT, "the version of the airgap that made the bundle"),
    "torn": (items(NUMBER), "ledger lines that a crash cut short"),
    "transfer": (mapping(), "what the manifest says about the transfer: ticket, approval, …"),
    "unconfirmed": (items(TEXT), "what the receipt does not confirm"),
    "unreadable": (items(TEXT), "files that could not be compared with the ledger"),
    "user": (TEXT, "the user who ran the command"),
    "verdict": (one_of(*VERDICTS), "the outcome for the image at the target"),
    "version": (NUMBER, "the version of the trust root"),
    "volumes": (items(TEXT), "the folders of all volumes; of a bundle in one piece, its path"),
    "volumes_here": (items(NUMBER), "the numbers of the volumes that were named"),
    "volumes_read": (items(NUMBER), "the numbers of the volumes that were read"),
    "vouched": (FLAG, "whether keys of the trust root signed it; otherwise it only says so itself"),
    "wanted": (optional(TEXT), "the signatures that are missing before the bundle loads; null if none are"),
    "wants": (items(TEXT), "the signatures that are missing"),
    "warning": (optional(TEXT), "a warning that the trust root expires soon or has expired"),
    "way": (TEXT, "how the bundle was loaded: by the host's airgap, or from here through SSH"),
    "where": (TEXT, "the target, medium or host"),
    "who": (items(TEXT), "who can give the missing signatures"),
    "witnesses": (NUMBER, "the number of signed checkpoints that the ledger agrees with"),
    "written": (TEXT, "the path of the file that was written"),
}


def value(names: str, **own: Schema) -> Schema:
    """The schema of an object that has the keys `names`, and those in `own` with a schema of their own."""
    keys = [*names.split(), *(name for name in own if name not in names.split())]
    properties = {}
    for key in sorted(keys):
        schema, meaning = KEYS.get(key, ({}, ""))
        if key in own:
            schema = own[key]
        properties[key] = {"description": meaning, **schema} if meaning else dict(schema)
    return {"type": "object", "required": sorted(keys), "properties": properties}


def meaning(text: str, schema: Schema) -> Schema:
    """A schema whose key means something else than elsewhere."""
    return {"description": text, **schema}


def with_optional(schema: Schema, **properties: Schema) -> Schema:
    """An object that may also have these keys."""
    return {**schema, "properties": {**schema["properties"], **properties}}


ERROR = with_optional(
    value("message hint exit_code", kind=meaning("the kind of the error: docs/exit-codes.md", TEXT)),
    failures=meaning(KEYS["failures"][1], mapping()),
)
NULLABLE_ERROR = optional(ERROR)
ERROR_TEXT = meaning("why the image failed", optional(TEXT))
TITLE = meaning("the title of the bundle, as in stack-0001", TEXT)
UNKNOWN = items(value("reference reason"))
REQUIRES = value("count bytes")
CHOSEN = "left_out platforms_by_default notes"
MEDIUM = mapping()
ENTRY = value(
    "seq time user event result where reason details",
    exit_code=meaning("the exit code of the command; null without an end", optional(NUMBER)),
    bundle=meaning("the bundle of the entry", mapping()),
    images=items(mapping()),
)
PROOF = {"media": items(MEDIUM)}
RECEIPT_KEYS = (
    "site statement_sha256 time result target engine operator claimed_operator keys root_version blobs_held"
)
RECEIPT = {
    "bundle": TITLE,
    "checkpoint": value("origin size root"),
    "images": items(value("reference digest verdict before after reason", error=ERROR_TEXT)),
    "step_back": meaning("the step back, or null", optional(value("reason epoch serial statement_sha256"))),
}
RECEIVED = value("bundle volumes statement_sha256 bytes blobs_written read_back", **PROOF)
LOADED = value(
    "bundle target engine statement_sha256 receipt content_from",
    images=items(value("reference digest verdict reason before after digest_kind", error=ERROR_TEXT)),
    receipt_copies=items(value("path", error=meaning("why there is no copy", optional(TEXT)))),
)
CHANGED = value("version installed path fingerprint changes signed_by signers wants who warning")
VERIFIED = value(
    "bundle volumes statement_sha256 owners keys threshold files bytes repeat missed hollow",
    requires=REQUIRES,
)
ON_MEDIUM = value(
    "bundle statement_sha256 volumes_read read_back",
    **PROOF,
    volumes=meaning("the number of volumes", NUMBER),
)
KIT = {
    "kit": meaning("the folder of the kit", TEXT),
    "version": meaning("the version of the airgap in it", TEXT),
}
KEY_NAMES = "owner algorithm keyid"

OUTPUTS: Mapping[str, Schema] = {
    "init": value(
        "site home owner key keyid spare_key", root=meaning("the path of the trust root", TEXT),
        fingerprint=meaning("the SHA-256 of the trust root", TEXT),
    ),
    "lock": value(
        "lock",
        images=items(value(
            f"reference digest digest_kind {CHOSEN}", platforms={"anyOf": [items(TEXT), one_of("all")]}
        )),
        relocked=meaning("the images whose digest was another one in the lock before, or null", items(value(
            "reference", was=meaning("the digest in the lock before", optional(TEXT)),
            now=meaning("the digest that is locked now", optional(TEXT)),
        ))),
        left_out=meaning(
            "images of sources that are not carried", items(value("source digest", reason=TEXT))
        ),
        attachments_unknown=UNKNOWN,
    ),
    "plan": value(
        "name exports blobs bytes spared_bytes free",
        images=items(value(f"reference as digest platforms blobs bytes {CHOSEN}")),
        site_bases=items(value("site bases spared_bytes saved_without")),
        attachments_unknown=UNKNOWN, error=NULLABLE_ERROR, **PROOF,
        volumes=meaning("the number of volumes; null if the bundle does not fit", optional(NUMBER)),
    ),
    "pack": value(
        "bundle volumes stream serial statement_sha256 bytes files fresh read_back", requires=REQUIRES,
        images=items(value(f"reference digest platforms {CHOSEN}")), attachments_unknown=UNKNOWN,
        error=NULLABLE_ERROR, **PROOF,
    ),
    "sign": value("bundle statement_sha256 owners wanted fresh"),
    "inspect": value(
        "bundle stream serial epoch created expires destinations transfer sender tool_version statement_sha256 "
        "owners keys threshold root_version bytes files refusal volumes_here vouched", error=NULLABLE_ERROR,
        requires=REQUIRES, images=items(value("reference as kind digest platforms source")),
        volumes=meaning("the number of volumes", NUMBER),
    ),
    "diff": value(
        "new_bytes",
        before=meaning("the title of the first list", TEXT), after=meaning("the title of the second list", TEXT),
        same=meaning("whether all images are the same", FLAG),
        images=items(value(
            "name new_bytes", change=meaning("how the image differs", one_of(*Change)), before=optional(TEXT), after=optional(TEXT)
        )),
    ),
    "backup": value("site backup files ledger_lines"),
    "restore": value("site home files ledger_lines latest adopted alarms"),
    "verify": value("", bundles=items({"anyOf": [VERIFIED, ON_MEDIUM]})),
    "receive": value("", bundles=items(RECEIVED)),
    "load": {
        "anyOf": [
            with_optional(LOADED, error=meaning(KEYS["error"][1], NULLABLE_ERROR)),
            value("", bundles=items(LOADED), error=NULLABLE_ERROR),
        ]
    },
    "send": value(
        "bundle statement_sha256", error=NULLABLE_ERROR,
        hosts=items(value(
            "host state folder files_sent bytes_sent files_there proved_by", error=NULLABLE_ERROR,
            load=optional(value(
                "way receipt_kept receipt_error alarms", receipt=optional(TEXT), images=items(value("reference", verdict=TEXT))
            )),
        )),
    ),
    "serve": value("address repositories notes", snippets=items(value("client path content"))),
    "repack": RECEIVED,
    "repair": RECEIVED,
    "version": value("json_version python", version=meaning("the version of airgap", TEXT)),
    "key generate": value(f"{KEY_NAMES} key"),
    "key passwd": value("owner keyid key"),
    "key add": value("owner keyid key"),
    "key list": value(
        "", keys=meaning("the signing keys of people", items(value(KEY_NAMES))),
        site=meaning("the key of the site, which signs receipts", value("site algorithm keyid")),
    ),
    "key show": value(f"{KEY_NAMES} pem"),
    "trust show": value(
        "version epoch expires revoked sites warning", fingerprint=meaning("the SHA-256 of the trust root", TEXT),
        keys=meaning("the keys of the trust root", items(value(f"{KEY_NAMES} pem"))),
        roles=mapping(value("keyids threshold distinct_owners")),
    ),
    "trust install": value("version site fresh", fingerprint=meaning("the SHA-256 of the trust root", TEXT)),
    **dict.fromkeys(
        (f"trust {word}" for word in ["add", "add-site", "remove", "revoke", "rotate", "threshold", "sign", "epoch"]), CHANGED
    ),
    "receipt import": value(
        "",
        receipts=items(value(f"receipt kept fresh import alarms unconfirmed {RECEIPT_KEYS}", **RECEIPT)),
        error=NULLABLE_ERROR,
    ),
    "receipt show": value("", receipts=items(value(RECEIPT_KEYS, **RECEIPT))),
    "audit log": value("", entries=items(ENTRY)),
    "audit show": ENTRY,
    "audit find": value("", found=items(value(
        "time site event result user reference digest where", bundle=TITLE
    ))),
    "audit export": with_optional(
        value("", entries=items(ENTRY)), written=meaning(KEYS["written"][1], KEYS["written"][0])
    ),
    "audit report": value(
        "site time alarms counts", ledger=value("size root compared_with"), odd=items(ENTRY),
        sent=items(value(
            "statement_sha256 sealed destinations transfer state missing disputed", bundle=TITLE,
            recipients=items(value("site standing superseded_by")),
            receipts=meaning("the paths of the receipts", items(TEXT)),
        )),
        loaded=items(value("time operator claimed_operator target result receipt", bundle=TITLE)),
    ),
    "audit compare": value(
        "site time target engine notes", error=NULLABLE_ERROR,
        images=items(value("reference time expected", bundle=TITLE, state=one_of(*State), digest=optional(TEXT))),
    ),
    "audit verify": value("size head root witnesses open torn backwards unreadable alarms"),
    "audit settle": value("settled changes"),
    "kit": value("targets files bytes statement_sha256 keys read_back", **KIT, **PROOF),
    "kit verify": value("targets files bytes statement_sha256 owners keys threshold copy", **KIT),
}  # fmt: skip
"""The result of each command. A command that fails writes only the key `error`."""


def schema_of(command: str) -> Schema:
    """The JSON Schema of a command's output."""
    name = command.replace(" ", "-")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:airgap:json:v{JSON_VERSION}:{name}",
        "title": f"airgap {command} --json",
        "anyOf": [OUTPUTS[command], value("", error=ERROR)],
    }
