"""Operating on the past: snapshots, replays, and what they answer."""
