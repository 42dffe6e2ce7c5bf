"""The broker as its operator sees it: topics, positions, and brokers of our own."""
