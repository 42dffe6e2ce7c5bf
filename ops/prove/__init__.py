"""Proof: whatever happens to workers, disks and broker, every table ends as the single-threaded fold of the log.

`workload` writes a log whose content is known, `cluster` runs broker and workers and harms them, `recovery` times how
they come back, `judge` compares; each scenario (`kills`, `outages`, `replica`) is a story of harm in between.
"""
