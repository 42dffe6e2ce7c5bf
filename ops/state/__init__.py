"""Operating on the state: folds of the log, compared with the tables, audited, rebuilt."""
