"""Lists in bulk: for whom, and how they are ranked, written down and logged."""
