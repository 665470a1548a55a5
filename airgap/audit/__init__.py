"""What was done, by whom, and with what result: the ledger, its checks, and the receipt."""
