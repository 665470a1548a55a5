"""The administration of a site: making, changing and installing its trust root, and its backups."""
