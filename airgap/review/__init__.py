"""What was carried across: read by both sides from what they keep, and from receipts that came back."""
