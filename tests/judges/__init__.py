"""Programs in other languages that read what airgap reads, as judges of its parsers."""
