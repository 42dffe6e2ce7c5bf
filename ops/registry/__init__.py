"""Operating on models: what is registered, and which of it serves."""
