"""airgap carries container images across an air gap in signed, checksummed, audited bundles."""

__version__ = "0.1.0"
