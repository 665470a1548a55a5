"""Sizes as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap.bundle.volume_table import VolumeSize
from airgap.cli.sizes import FAT32_MAX_FILE_BYTES, parse_volume_size
from airgap.errors import UsageError

LEAST = 4 << 20
UNITS = {
    **{unit: 1000**power for power, unit in enumerate(("B", "kB", "MB", "GB", "TB"))},
    **{unit: 1024**power for power, unit in enumerate(("KiB", "MiB", "GiB", "TiB"), 1)},
}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GiB", 4 << 30),
        ("4 GiB", 4 << 30),
        ("4gib", 4 << 30),
        ("4.7GB", 4_700_000_000),
        ("4.7 gb", 4_700_000_000),
        ("700MB", 700_000_000),
        ("700 mb", 700_000_000),
        ("0.5GiB", 1 << 29),
        ("1.001GB", 1_001_000_000),
        ("4194304B", LEAST),
        ("4194304 b", LEAST),
        ("4096KiB", LEAST),
        ("4MiB", LEAST),
        ("9999999kB", 9_999_999_000),
        ("2TB", 2 * 10**12),
        ("2TiB", 2 << 40),
        (" 4GiB ", 4 << 30),
        ("0000004GiB", 4 << 30),
        ("999999999TiB", 999_999_999 << 40),
    ],
)
def test_sizes(text, size):
    assert parse_volume_size(text) == VolumeSize(size)


@pytest.mark.parametrize("text", ["fat32", "FAT32", "Fat32", " fat32 "])
def test_the_limit_of_fat32_is_one_of_files(text):
    assert parse_volume_size(text) == VolumeSize(None, FAT32_MAX_FILE_BYTES)
    assert FAT32_MAX_FILE_BYTES == (1 << 32) - 1


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "4", "4.7", "GiB", "B", "fat", "fat16", "exfat", "fat32 4GiB", "auto"),
        *("4 G", "4G", "4M", "4K", "4GIBI", "4iB", "4BB", "4PB", "4EiB", "4GBps", "4 gigabytes"),
        *("-4GiB", "+4GiB", "0x10GiB", "1e3GiB", "1_000GiB", "4,7GB", "4.GB", ".5GB", "4.7.1GB", "4..7GB"),
        *("1.0001GB", "1234567890GiB", "infGiB", "nanGB", "4GiB4GiB", "4GiB 700MB", "4  GiB", "4\tGiB"),
        *(
            "4GiB\n4",
            "4GiB\x00",
            "\u0664GiB",
            "\uff14GiB",
            "4\u00a0GiB",
            "4G\u0130B",
            "4\u212aiB",
            "\u2163GiB",
        ),
    ],
)
def test_what_is_no_size(text):
    with pytest.raises(
        UsageError, match=r"not a size, want such as 4GiB, 4\.7GB, 700MB, or fat32, got "
    ) as caught:
        parse_volume_size(text)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("0B", "0"),
        ("1B", "1"),
        ("4194303B", "4,194,303"),
        ("4095KiB", "4,193,280"),
        ("4MB", "4,000,000"),
        ("0.003GiB", "3,221,225"),
        ("0GB", "0"),
        ("0.000TiB", "0"),
    ],
)
def test_what_is_too_small(text, got):
    with pytest.raises(UsageError) as caught:
        parse_volume_size(text)
    assert str(caught.value) == f"volume size is too small, want at least 4,194,304 bytes, got {got}"


@given(
    number=st.integers(0, 999_999_999),
    thousandths=st.none() | st.integers(0, 999),
    unit=st.sampled_from(sorted(UNITS)),
    blank=st.sampled_from(["", " "]),
    case=st.sampled_from([str, str.lower, str.upper]),
)
def test_every_size_that_is_written_right(number, thousandths, unit, blank, case):
    """Exact to the byte, rounded down; no floating point is between."""
    text = str(number) if thousandths is None else f"{number}.{thousandths:03d}"
    size = (number * 1000 + (thousandths or 0)) * UNITS[unit] // 1000
    written = f"{text}{blank}{case(unit)}"
    if size < LEAST:
        with pytest.raises(UsageError, match="too small"):
            parse_volume_size(written)
    else:
        assert parse_volume_size(written) == VolumeSize(size)


@given(st.text() | st.text(alphabet="0123456789.kKMGTiIBb fat32-+_,", max_size=12))
def test_any_text_is_a_size_or_refused(text):
    try:
        found = parse_volume_size(text)
    except UsageError as error:
        assert str(error).isprintable()  # noqa: PT017 - most texts are refused
    else:
        assert found.file == FAT32_MAX_FILE_BYTES if found.size is None else found.size >= LEAST
