"""The `--json` output of every command.

A key has the same type and meaning wherever it stands, unless the table of a command says otherwise (`own`).
"""

from collections.abc import Mapping

from airgap.carry.compare_images import Change
from airgap.cli.version import JSON_VERSION
from airgap.review.compare_target import State
from tests.references.json_keys import (
    FLAG,
    KEYS,
    NUMBER,
    TEXT,
    TIME,
    Schema,
    items,
    mapping,
    one_of,
    optional,
)


def value(names: str, /, **own: Schema) -> Schema:
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
    wrong=meaning(KEYS["wrong"][1], KEYS["wrong"][0]),
    wrong_count=meaning(KEYS["wrong_count"][1], NUMBER),
)
NULLABLE_ERROR = optional(ERROR)
ERROR_TEXT = meaning("why the image failed", optional(TEXT))
TITLE = meaning("the title of the bundle, as in stack-0001", TEXT)
UNKNOWN = items(value("reference reason"))
REQUIRES = value("count bytes")
BUILDS_ON = items(value(
    "title epoch receipt_sha256",
    site=meaning("the site of the receipt; null for a bundle that every destination is assumed to have", optional(TEXT)),
    time=meaning("the time of the receipt, or null", optional(TIME)),
))  # fmt: skip
CHOSEN = "left_out platforms_by_default notes"
MEDIUM = mapping()
ENTRY = value(
    "seq time user event result where reason details",
    exit_code=meaning("the exit code of the command; null without an end", optional(NUMBER)),
    bundle=meaning("the bundle of the entry", mapping()),
    images=items(mapping()),
)
PROOF = {"media": items(MEDIUM)}
FILES = {
    "carried_files": meaning(
        "the files that the artifact carries; none of an image",
        items(
            value(
                "mode bytes",
                name=meaning("the name of the file", TEXT),
                digest=meaning("the SHA-256 of the file", TEXT),
            )
        ),
    )
}
RECEIPT_KEYS = (
    "site statement_sha256 time result target engine operator claimed_operator keys root_version blobs_held"
)
PRUNED = meaning("the names that were removed at the target", items(value("reference digest")))
RECEIPT = {
    "bundle": TITLE,
    "checkpoint": value("origin size root"),
    "images": items(value("reference digest verdict before after reason", error=ERROR_TEXT)),
    "pruned": PRUNED,
    "step_back": meaning("the step back, or null", optional(value("reason epoch serial statement_sha256"))),
}
RECEIVED = value("bundle volumes statement_sha256 sender_name bytes blobs_written read_back", **PROOF)
RECALLED_LOADED = items(value("statement_sha256 reason target references", bundle=TITLE))
RECALL_REASON = meaning("why the bundle is recalled; null if it is not", optional(TEXT))
IDENTITIES = meaning(
    "whose keyless signatures images have",
    items(
        value(
            "reference",
            issuer=meaning("the OpenID Connect provider in the certificate", TEXT),
            subject=meaning("the mail address or URI in the certificate", TEXT),
            checked=meaning("whether the signature was checked here; false without airgap[sigstore]", FLAG),
        )
    ),
)
LOADED = value(
    "bundle target engine statement_sha256 sender_name receipt content_from",
    images=items(
        value("reference digest verdict moved reason before after digest_kind", error=ERROR_TEXT, **FILES)
    ),
    identities=IDENTITIES,
    pruned=meaning("the names that --prune removed at the target", items(value("reference digest"))),
    not_pruned=meaning(
        "names of earlier bundles that --prune left",
        items(value("reference", reason=meaning("why the name was left", TEXT))),
    ),
    receipt_copies=items(value("path", error=meaning("why there is no copy", optional(TEXT)))),
)
LOST = value(
    "medium since user reason seen_again",
    bundles=meaning(
        "the bundles that were on it", items(value("statement_sha256 time confirmed_by", bundle=TITLE))
    ),
)
CHANGED_KEYS = "version installed path fingerprint changes signed_by signers wants who warning"
CHANGED = value(CHANGED_KEYS)
VERIFIED = value(
    "bundle volumes statement_sha256 sender_name owners keys threshold files bytes repeat missed hollow refused_names",
    requires=REQUIRES,
    identities=IDENTITIES,
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
SENDER = meaning("the name of the sender", TEXT)
RULES = meaning(
    "the names that the sender may set; null if it may set every name",
    optional(
        items(
            value(
                "",
                names=meaning("the patterns of names", items(TEXT)),
                target=meaning("the target that the rule is for; null for all", optional(TEXT)),
            )
        )
    ),
)
KEY_NAMES = "owner algorithm keyid"

OUTPUTS: Mapping[str, Schema] = {
    "init": value(
        "site home owner key keyid spare_key", root=meaning("the path of the trust root", TEXT),
        fingerprint=meaning("the SHA-256 of the trust root", TEXT),
    ),
    "discover": value(
        "check",
        images=items(value(
            "reference certainty optional",
            platforms=meaning("the platforms that the files state", items(TEXT)),
            places=meaning("where the image is named, the best place first", items(value(
                "file line certainty optional note", user=meaning("what uses the image", TEXT),
                written=meaning("the text in the file, with its variables", TEXT),
            ))),
        )),
        problems=meaning("what could not be read or resolved, and what a person should know", items(value(
            "severity file line what hint",
        ))),
        files=meaning("the files that were read", items(TEXT)),
        manifest=meaning("the path of the manifest that was written, or null", optional(TEXT)),
        rewritten=meaning("the copies with offline names that were written, or null", optional(items(value(
            "file", copy=meaning("the path of the copy", TEXT),
            images=meaning("the places in it that name an image", NUMBER),
        )))),
        check=meaning("the comparison with a manifest, or null", optional(value(
            "unused partial",
            manifest=meaning("the path of the manifest", TEXT),
            missing=meaning("images that the files run, and the manifest does not carry", items(TEXT)),
        ))),
        error=NULLABLE_ERROR,
    ),
    "lock": value(
        "lock",
        images=items(value(
            f"reference digest digest_kind {CHOSEN}", platforms={"anyOf": [items(TEXT), one_of("all")]}, **FILES,
            chart=meaning(
                "the chart that runs an image that the manifest does not list, or null", optional(TEXT)
            ),
            certainty=meaning("how sure it is that the chart runs it, or null", optional(TEXT)),
        )),
        guesses=meaning("images that charts may run, and that are not carried", items(value(
            "reference", chart=meaning("the name of the chart on the isolated side", TEXT),
            place=meaning("where the image stands in the chart", TEXT),
        ))),
        chart_problems=meaning("what could not be read in charts", items(TEXT)),
        provenance=meaning("the charts whose provenance file was checked", items(value(
            "", chart=meaning("the name of the chart on the isolated side", TEXT),
            fingerprint=meaning("the OpenPGP fingerprint of the key that signed it", TEXT),
        ))),
        relocked=meaning("the images whose digest was another one in the lock before, or null", items(value(
            "reference", was=meaning("the digest in the lock before", optional(TEXT)),
            now=meaning("the digest that is locked now", optional(TEXT)),
        ))),
        tags=meaning("the repositories with rules for their tags", items(value(
            "repository",
            tags=meaning("the tags that are locked now", items(TEXT)),
            came=meaning("the tags that were not in the lock before", items(TEXT)),
            went=meaning("the tags that are no longer in the lock", items(TEXT)),
        ))),
        left_out=meaning(
            "images of sources that are not carried", items(value("source digest", reason=TEXT))
        ),
        attachments_unknown=UNKNOWN,
    ),
    "plan": value(
        "name exports blobs bytes spared_bytes free compared_bundle",
        images=items(value(
            f"reference as digest platforms blobs bytes {CHOSEN}",
            change=meaning("how the image differs", one_of(*Change)), **FILES,
        )),
        site_bases=items(value("site bases spared_bytes saved_without")),
        attachments_unknown=UNKNOWN, builds_on=BUILDS_ON, error=NULLABLE_ERROR, **PROOF,
        volumes=meaning("the number of volumes; null if the bundle does not fit", optional(NUMBER)),
    ),
    "pack": value(
        "bundle volumes stream serial statement_sha256 bytes files fresh read_back", requires=REQUIRES, builds_on=BUILDS_ON,
        images=items(value(f"reference digest platforms {CHOSEN}", **FILES)), attachments_unknown=UNKNOWN,
        error=NULLABLE_ERROR, **PROOF,
    ),
    "recall": value(
        f"{CHANGED_KEYS} statement_sha256 reason fresh sealed_here confirmed_by still_at replaced_by", bundle=TITLE
    ),
    "sign": value("bundle statement_sha256 owners wanted fresh"),
    "inspect": value(
        "bundle stream serial epoch created expires destinations transfer sender tool_version statement_sha256 "
        "owners keys threshold root_version sender_name bytes files refusal volumes_here vouched", error=NULLABLE_ERROR,
        requires=REQUIRES, builds_on=BUILDS_ON, recalled=RECALL_REASON,
        images=items(value("reference as kind digest platforms source", **FILES)),
        volumes=meaning("the number of volumes", NUMBER),
        sbom=meaning("the file with the SBOM that was written, or null", optional(TEXT)),
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
    "verify": value("", bundles=items({"anyOf": [VERIFIED, ON_MEDIUM]}), recalled_loaded=RECALLED_LOADED),
    "receive": value("", bundles=items(RECEIVED)),
    "load": {
        "anyOf": [
            with_optional(
                LOADED, error=meaning(KEYS["error"][1], NULLABLE_ERROR),
                recalled_loaded=meaning(KEYS["recalled_loaded"][1], RECALLED_LOADED),
            ),
            value("", bundles=items(LOADED), error=NULLABLE_ERROR, recalled_loaded=RECALLED_LOADED),
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
        recalled=meaning(
            "the bundles that must not be used", items(value("statement_sha256 stream epoch serial reason time"))
        ),
    ),
    "trust install": value(
        "version site fresh", recalled_loaded=RECALLED_LOADED, sender_name=SENDER,
        fingerprint=meaning("the SHA-256 of the trust root", TEXT),
    ),
    "trust list": value(
        "",
        senders=meaning("the senders, the first one first", items(value(
            "version epoch expires", sender_name=SENDER, rules=RULES,
            first=meaning("whether it is the first sender, whose files are in the site's own folder", FLAG),
            fingerprint=meaning("the SHA-256 of the trust root", TEXT),
            streams=meaning(
                "the newest bundle of each stream that was accepted",
                items(value("stream serial epoch statement_sha256")),
            ),
        ))),
    ),
    "trust allow": value("", sender_name=SENDER, rules=RULES),
    "trust remove-sender": value("", sender_name=SENDER),
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
        "time site event result user reference digest where", bundle=TITLE,
        recalled=meaning("whether the bundle is recalled", FLAG),
    ))),
    "audit export": with_optional(
        value("", entries=items(ENTRY)), written=meaning(KEYS["written"][1], KEYS["written"][0])
    ),
    "audit report": value(
        "site time alarms counts", ledger=value("size root compared_with"), odd=items(ENTRY), lost_media=items(LOST),
        sent=items(value(
            "statement_sha256 sealed destinations transfer state missing disputed", bundle=TITLE,
            recipients=items(value("site standing superseded_by")),
            receipts=meaning("the paths of the receipts", items(TEXT)),
            recalled=RECALL_REASON, still_at=mapping(items(TEXT)),
        )),
        loaded=items(value("time operator claimed_operator target result receipt", bundle=TITLE, recalled=RECALL_REASON)),
    ),
    "audit compare": value(
        "site time target engine notes", error=NULLABLE_ERROR,
        images=items(value("reference time expected", bundle=TITLE, state=one_of(*State), digest=optional(TEXT))),
    ),
    "audit verify": value("size head root witnesses open torn backwards unreadable alarms"),
    "audit medium lost": LOST,
    "audit medium found": value("medium"),
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
