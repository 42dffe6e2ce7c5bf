"""Operating on the log: loaded, exported, imported, rewritten."""
