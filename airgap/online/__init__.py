"""Work that needs a source: locking, planning and packing images, and making kits."""
