"""Who may sign what, and whether they did: keys, DSSE envelopes, the trust root, thresholds."""
