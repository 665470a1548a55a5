"""Work that needs only a bundle, on either side of the gap: verifying, signing, copying and sending."""
