"""Values of the OCI specifications, with no I/O: names, digests, documents, strict JSON."""
