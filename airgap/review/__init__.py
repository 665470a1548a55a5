"""Reports on transfers, for both sides, from ledgers, sealed bundles and receipts."""
