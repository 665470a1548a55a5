"""What the tests of the volume table share."""

from airgap.bundle.volume_table import (
    Cut,
    Part,
    VolumeTable,
)
from airgap.oci.digest import Digest

A, B, C = (Digest("sha256", letter * 64) for letter in "abc")
WIDE = Digest("sha512", "d" * 128)
SUMS = {letter: letter * 64 for letter in "0123456789"}
TABLE = VolumeTable(
    "e" * 64,
    2,
    Cut(3, {A: (Part(1, 7, SUMS["1"]), Part(3, 5, SUMS["2"])), WIDE: (Part(2, 0, SUMS["3"]),)}),
)


RAW = f"""\
{{"version":1,
"statement_sha256":"{"e" * 64}",
"volume":2,
"of":3,
"blobs":[
{{"blob":"{A}","parts":[{{"volume":1,"size":7,"sha256":"{SUMS["1"]}"}},{{"volume":3,"size":5,"sha256":"{SUMS["2"]}"}}]}},
{{"blob":"{WIDE}","parts":[{{"volume":2,"size":0,"sha256":"{SUMS["3"]}"}}]}}
]}}
""".encode()
