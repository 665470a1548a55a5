"""What needs only a bundle, on either side of the gap: verify, sign, copy, send."""
