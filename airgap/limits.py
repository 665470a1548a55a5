"""Limits on what comes from outside: how much is read, counted or waited for before it is refused.

A limit is far above what honest parts send, and low enough that a hostile one costs little memory and time.
"""

# -- bundles and kits (FORMAT.md)

MAX_BUNDLE_FILES = 200_000
"""Files of a bundle, or of a volume."""
MAX_BUNDLE_TAR_ENTRIES = MAX_BUNDLE_FILES + 100
"""Entries of a bundle in a tar, with its folders."""
MAX_STATEMENT_BYTES = 12 << 20
"""`statement.json`: about 100,000 files."""
MAX_KIT_STATEMENT_BYTES = 1 << 20
"""`statement.json` of a kit: about 5,000 files."""
MAX_INDEX_BYTES = 16 << 20
"""`index.json` and `manifest.json`: about 50,000 images."""
MAX_SUMS_FILE_BYTES = 16 << 20
"""`SHA256SUMS`: a line for each of the files of a bundle."""
MAX_VOLUME_TABLE_BYTES = 16 << 20
"""`volume.json`: about 80,000 layers. It is parsed before any signature is checked."""
MAX_VOLUMES = 999
"""Volumes of a bundle: far more than a person would insert."""
MAX_PARTS = 1000
"""Parts of a blob: their names end in three digits."""
MAX_REPEATED_FILE_BYTES = 64 << 20
"""A file that is on every volume, because such files are compared in memory."""
MAX_SERIAL_RISE = 1_000
"""How far a serial may be above the last accepted one (FORMAT.md §7.1)."""
MAX_FIRST_SERIAL = 1_000_000
"""The serial of the first bundle that a site accepts in a stream."""

MAX_DELTA_BASES = 1_000
"""Receipts and bundles that a delta builds on: as many as one command imports receipts."""

MAX_LISTED_ERRORS = 100
"""Wrong files of a bundle that are listed one by one; the others are counted."""

# -- archives

MAX_TAR_ENTRIES = 1_000_000
"""Entries of an archive."""
MAX_TAR_NAME_BYTES = 4096
"""A name or link target: the limit of Linux for a path."""
MAX_PAX_BYTES = 64 << 10
"""An extended header."""
MAX_TAR_NAMES_BYTES = 64 << 20
"""All names of an archive together, which are kept in memory."""
MAX_TAR_TRAILER_BYTES = 16 << 20
"""Zeros after the end, as writers of large records add them."""
MAX_TAR_FILE_BYTES = 1 << 40
"""A file in an archive: 1 TiB, as for a blob."""
MAX_TAR_TIME_SECONDS = 1 << 40
"""Seconds from 1970, before or after."""
MAX_TAR_OWNER_ID = (1 << 32) - 2
"""Owner or group: the largest that Linux has."""

# -- images

MAX_IMAGE_DOCUMENTS = 10_000
"""Image manifests and indexes of an image."""
MAX_INDEX_DEPTH = 2
"""Levels of image indexes: an index in an index occurs, more do not."""
MAX_INDEX_ENTRIES = 10_000
"""Entries of the indexes of an image that are read to choose platforms."""
MAX_ATTACHED = 1_000
"""Attachments of an image."""
MAX_ATTACHED_DEPTH = 2
"""Levels of attachments: the signature of an image's SBOM is found, but not what refers to that."""
MAX_ZSTD_WINDOW_BYTES = 128 << 20
"""Memory that a zstd frame may require; the zstd tools have the same limit."""

# -- manifests, locks and inventories

MAX_YAML_BYTES = 1 << 20
"""A manifest or an inventory: about 20,000 images."""
MAX_LOCK_BYTES = 4 << 20
"""A lock file, which has more about each image than the manifest."""
MAX_YAML_DEPTH = 16
"""Levels of lists and mappings: the reader is recursive."""
MAX_YAML_VALUES = 100_000
"""Scalars, lists and mappings in a document: about 20,000 images."""
MAX_CHART_INDEX_BYTES = 8 << 20
"""`index.yaml` of a Helm repository: about 15,000 versions of charts."""
MAX_CHART_INDEX_VALUES = 400_000
"""Scalars, lists and mappings in it."""
MAX_CHART_BYTES = 32 << 20
"""The archive of a chart, which is read in memory."""
MAX_CHART_UNPACKED_BYTES = 100 << 20
"""The files in it, as in Helm."""
MAX_CHART_FILES = 10_000
"""Entries of the archive."""
PROGRESS_FILE_BYTES = 64 << 20
"""A local file from which on `airgap lock` shows progress: it takes about a second to read."""
MAX_PROVENANCE_BYTES = 1 << 20
"""The provenance file of a chart, which repeats its Chart.yaml."""
GPGV_SECONDS = 30
"""Until `gpgv` must have checked a provenance file."""
MAX_TEXT_CHARACTERS = 1000
"""A line of free text in a manifest, which goes into the statement and the ledger."""
MAX_PATTERN_CHARACTERS = 500
"""A regular expression for tags: far longer than people can read."""
MAX_TAGS_OF_RULE = 1_000
"""Tags that one rule takes from a repository: each is an image of the bundle."""

# -- deployment files of other tools; `airgap/discover/limits.py` has the other limits of them

MAX_DEPLOYMENT_FILE_BYTES = 16 << 20
"""A file: the largest that operators publish, with all their resource definitions, have 5 MB."""
MAX_DEPLOYMENT_FILES = 20_000
"""Files that one run reads."""
MAX_DEPLOYMENT_BYTES = 256 << 20
"""All files that one run reads, together."""
MAX_DEPLOYMENT_VALUES = 500_000
"""Scalars, lists and mappings of a file, also those that its aliases repeat: five times the largest."""
MAX_DEPLOYMENT_DEPTH = 100
"""Levels of lists and mappings: schemas in resource definitions have 40; the reader is recursive."""
MAX_DEPLOYMENT_DOCUMENTS = 20_000
"""YAML documents of a file: operators publish some hundred in one."""

# -- the files of a site

MAX_SITE_FILE_BYTES = 64 << 10
"""`site.json`, and a mark."""
MAX_SENDERS = 64
"""Senders of a site: each of their trust roots is read when a bundle is opened."""
MAX_NAME_RULES = 64
"""Rules about the names of one sender: one for each target."""
MAX_NAME_PATTERNS = 256
"""Patterns in a rule; each name of a bundle is compared with all of them."""
MAX_NAME_PATTERN_CHARACTERS = 400
"""A pattern; longer than a full name with a tag."""
MAX_TARGET_CHARACTERS = 1000
"""The name of a target in a rule, as `--to` spells it."""
MAX_ROOT_BYTES = 4 << 20
"""A trust root."""
MAX_ROOTS_BYTES = 64 << 20
"""All versions of the trust root together."""

# -- what the system reports about media

MAX_MOUNTINFO_BYTES = 16 << 20
"""`/proc/self/mountinfo`: about 100,000 mounts."""
MAX_SEARCHED_MEDIA = 64
"""Mounted media that are searched for a bundle by its name."""
MAX_DEVICE_FILE_BYTES = 1 << 16
"""A file about a device in /sys or udev."""
MAX_DEVICE_TEXT_CHARACTERS = 128
"""A name or serial, which the device itself states."""
MAX_DEVICE_DEPTH = 8
"""Devices on devices: partition, device mapper, RAID."""

# -- recognising what a path is

MAX_HEAD_BYTES = 64 << 10
"""The beginning of a file that is examined to recognise it."""
MAX_RECOGNISED_BYTES = 16 << 20
"""A JSON document that is parsed to recognise it."""
MAX_RECOGNISED_HEADERS = 2000
"""Headers of a tar that are examined."""
MAX_RECOGNISED_NAMES = 2000
"""Names in a folder that are examined."""
MAX_RECOGNISED_BELOW = 200
"""Entries of a folder that are opened."""
MAX_EXAMINED_BUNDLES = 20
"""Bundles on a medium whose statements are verified to find the one that is meant."""

# -- waiting

WAIT_NOTE_SECONDS = 3.0
"""How long an engine or registry may still work on content that it has, before that is reported."""

# -- programs and remote hosts

REMOTE_ANSWER_SECONDS = 60.0
"""A short command of the remote host's airgap."""
MAX_REMOTE_RESULT_BYTES = 4 << 20
"""The JSON output of the remote host's airgap."""
MAX_REMOTE_TEXT_CHARACTERS = 2000
"""A text of it that is shown and recorded."""
MAX_REMOTE_SUMS_BYTES = 256 << 10
"""The output of a program that hashes 100 files."""
PIP_SECONDS = 7200.0
"""pip for the wheels of one Python, some 40 MB: it has no limit of its own."""

# -- registries: hostile answers, and waits that a registry can cause

MAX_ERROR_BODY_BYTES = 8 << 10
"""Reasons for a refusal are short."""
MAX_TOKEN_ANSWER_BYTES = 1 << 18
"""Tokens have a few kilobytes."""
MAX_CHALLENGE_BYTES = 8 << 10
"""A WWW-Authenticate header names a scheme and a few parameters."""
MAX_ANSWER_LINE_BYTES = 128 << 10
"""Status lines, headers, lengths of chunks and trailers together, in addition to the size of the content."""
MIN_ANSWER_BYTES_PER_SECOND = 5_000.0
"""A slower answer is abandoned: a layer of 5 GB may take twelve days."""
PIECE_BYTES = 3 << 20
"""A piece of a large blob, held in memory until all before it are written: 24 MiB with 8 connections."""
FAST_BYTES_PER_SECOND = 50_000_000
"""A connection of this speed brings a large blob alone. To most registries on the internet, connections are
slower, and several are used."""
MAX_PIECE_CONNECTIONS = 8
"""Connections for the pieces of large blobs from one registry, however many jobs there are. Browsers open 6
to a host, and dockerd 3 for layers."""
METADATA_JOBS = 16
"""Images whose metadata is read at the same time: most of the time is spent waiting for the registry."""
MAX_REDIRECTS = 5
"""Blob storage takes one or two."""
MAX_RETRY_AFTER_SECONDS = 86_400.0
"""The longest wait that a registry can ask for; the options limit how much of it is granted."""
MAX_BACKOFF_SECONDS = 60.0
"""The longest wait that airgap chooses itself."""
MAX_RESUMES = 100
"""Connections that may break in one download or upload, in addition to one for each MiB."""
MAX_REFERRERS = 1_000
"""Of one image."""
MAX_TAGS = 100_000
"""Of one repository."""
MAX_CATALOGUE = 10_000
"""Repositories of a registry that are listed."""
MAX_IMAGES_FOLDER_FILES = 10_000
"""Archives in the folder from which a Kubernetes distribution imports."""
MAX_LIST_PAGES = 1_000
"""Of one list of referrers or tags."""

# -- indexes of images that are served

MAX_INDEX_LEVELS = 4
"""An image of several platforms has two: its index and the image manifests."""

# -- serving: clients that are hostile or broken

MAX_REQUEST_HEAD_BYTES = 16 << 10
"""The request line and the headers together."""
MAX_REQUEST_HEADERS = 100
"""Clients send about ten."""
MAX_LINGER_BYTES = 1 << 20
"""What is still read of a client whose connection is about to be closed."""
MAX_LINGER_SECONDS = 0.5
"""A client that takes longer may lose the answer."""

# -- JSON from media and networks

MAX_JSON_BYTES = 4 << 20
"""One document. Registries allow 4 MiB too."""
MAX_JSON_DEPTH = 32
"""Levels of nesting: a parser needs stack for each."""
MAX_JSON_INTEGER = 2**53 - 1
"""Greater integers are read as other numbers by programs that use doubles."""

# -- images

MAX_BLOB_BYTES = 1 << 40
"""A layer: 1 TiB."""
MAX_IMAGE_NAME_CHARACTERS = 255
"""The name of an image without its tag, as registries limit it."""
MAX_TAG_CHARACTERS = 128
"""A tag (OCI distribution-spec, "Pulling manifests")."""
MAX_LAYER_URLS = 16
"""Other locations of one foreign layer."""
MAX_ARTIFACT_FILES = 5_000
"""Files of one artifact: with long names, its manifest stays below 4 MiB."""
MAX_LISTED_NAMES = 200_000
"""Names in a folder and below it that are compared with a pattern."""
MAX_FILE_NAME_CHARACTERS = 400
"""The name of a carried file with its folders."""
MAX_FILE_NAME_PART_CHARACTERS = 200
"""A part of it: with a suffix, below the 255 bytes of a name on every file system."""
MAX_FILE_NAME_PARTS = 9
"""Its folders and its last part."""

# -- signatures and trust roots

MAX_ENVELOPE_BYTES = 16 << 20
"""The whole JSON document of an envelope: a statement lists up to some 100,000 files."""
MAX_SIGNATURES = 64
"""Signatures of one envelope: each costs a check."""
MAX_ENVELOPE_COMMAS = 16 * MAX_SIGNATURES
"""Far more than any envelope has; keeps 16 MiB of JSON from becoming a gigabyte of small objects."""
MAX_LABEL_CHARACTERS = 256
"""A payload type, or a key id in an envelope."""
MAX_PUBLIC_KEY_BYTES = 16 << 10
"""A public key in PEM; one of ML-DSA-87 is under 4 KiB."""
MAX_KEY_FILE_BYTES = 64 << 10
"""A file with a private key; an encrypted ML-DSA key is under 10 KiB."""
MAX_ROOT_KEYS = 1024
"""Keys of one trust root."""
MAX_OWNER_CHARACTERS = 128
"""The name of a key's owner."""
MAX_ROOT_STEPS = 1024
"""Versions of the trust root in one walk; the next walk continues from there."""
MAX_RECALLS = 256
"""Recalls of one trust root, which are never dropped: one a month for twenty years. With the longest reasons,
they are 2 MiB of the 4 MiB of a root."""
MAX_EPOCH_RISE = 1_000
"""How far one version of the trust root may raise the epoch, so that a mistake cannot use up the numbers."""
MAX_COSIGN_MATERIAL_BYTES = 256 << 10
"""One payload or bundle of cosign; a signature's are under 16 KiB, attestations may be larger."""
MAX_TRUSTED_ROOT_BYTES = 256 << 10
"""Sigstore's trusted root; that of the public instance has 7 KiB."""
MAX_COSIGN_MATERIALS = 256
"""Signatures in one signature manifest, to which cosign appends with each signing."""

# -- the ledger and receipts

MAX_LEDGER_LINE_BYTES = MAX_JSON_BYTES
"""A line of a ledger, without its newline."""
MAX_LEDGER_SUMMARY_BYTES = 4 << 20
"""The summary of a ledger that is kept beside it."""
MAX_UNREADABLE_LINES = 16
"""With more unreadable lines at its end, a file is not a ledger, and is not written to."""
MAX_OPEN_ATTEMPTS = 64
"""Attempts without an end that are remembered: they may explain a file that has no record."""
MAX_MEDIA_NOTES = 1_000
"""Notes about lost media whose places are remembered; with more, the ledger is searched for them."""
MAX_REASON_CHARACTERS = 500
"""The reason that a person gives for a decision."""
MAX_RECORDED_ERROR_CHARACTERS = 2048
"""The text of an error in a ledger's record."""
MAX_RECEIPT_ALARMS = 100
"""Alarms about one receipt: a site may sign a very long one, and the ledger takes lines of 4 MiB."""
MAX_IMPORTED_RECEIPTS = 10_000
"""Receipts that one command imports: two years of weekly bundles to 100 sites."""
MAX_RECEIPT_FOLDER_NAMES = 100_000
"""Names in a folder that is searched for receipts."""

# -- engines: Docker, podman, containerd

ENGINE_SILENCE_SECONDS = 3600
"""Without a byte: engines compress before `save` begins and unpack after `load` has ended."""
MAX_ENGINE_ANSWER_BYTES = 4 << 20
"""A document of an engine."""
MAX_ENGINE_LIST_BYTES = 32 << 20
"""The list of images: most entries are smaller than a KiB, those with many labels have several."""
MAX_ENGINE_ERROR_BYTES = 64 << 10
"""The body of an answer that reports a failure."""
MAX_ENGINE_MESSAGE_CHARACTERS = 2000
"""An engine's message in an error."""
MAX_ENGINE_VERSION_CHARACTERS = 100
"""The version that an engine reports."""
MAX_ENGINE_NAME_CHARACTERS = 255
"""An engine's name for its machine."""
MAX_CTR_OUTPUT_BYTES = 16 << 20
"""The output of `ctr`: a list of all images."""
MAX_CTR_ERROR_BYTES = 16 << 10
"""The end of its error output, which has the reason."""
CTR_OUTPUT_SECONDS = 10.0
"""The rest of the output of a `ctr` that has ended."""
MAX_DOCKER_CONFIG_BYTES = 4 << 20
"""A file of Docker's client configuration."""
MAX_HELPER_ANSWER_BYTES = 1 << 20
"""The answer of a credential helper."""
CREDENTIAL_HELPER_SECONDS = 120.0
"""A credential helper: long enough for a person who has to unlock a key."""
MAX_HOLDINGS_BYTES = 64 << 20
"""What was loaded into one target; the oldest images are dropped above that."""
MAX_HELD_IMAGES = 20_000
"""Images in that file."""

# -- image archives

MAX_IMAGE_ARCHIVE_FILES = 100_000
"""Entries of an image archive, which are listed in memory."""
MAX_KEPT_DOCUMENT_BYTES = 1 << 20
"""A document of a compressed archive that is kept while the archive is listed."""
MAX_KEPT_DOCUMENTS_BYTES = 32 << 20
"""All documents of an archive that are kept in memory."""
MAX_ARCHIVE_PASSES = 16
"""Times that a compressed archive is read from its beginning, once for each larger document."""
MAX_UNPACKED_RATIO = 1_100
"""Content to compressed archive: gzip's own limit is 1,032, far above real images."""
FREE_UNPACKED_BYTES = 64 << 20
"""What may be decompressed whatever the ratio."""

# -- backups

MAX_AGE_WORK_FACTOR = 20
"""scrypt's work for a passphrase: 1 GiB of memory."""
MAX_AGE_LINE_BYTES = 80
"""A line of the header of an age file."""
MAX_BACKUP_FILE_BYTES = 64 << 20
"""A file of a site, except the ledger."""
MAX_BACKUP_FILES = 100_000
"""Files of a site: envelopes of bundles and receipts of some years."""
MAX_BACKUP_DEPTH = 5
"""Levels of names in a site: `senders/<name>/received/<stream>/<file>`."""

# -- reports and their records

MAX_PAGE_TEXT_CHARACTERS = 10_000
"""Characters of one text on the page that is signed: more than a page of paper; the rest is counted."""
MAX_STATED_PAIRS = 100
"""Pairs under `transfer:` that a ledger record of a bundle keeps."""
MAX_STATED_CHARACTERS = 1_000
"""Characters of each of them."""
