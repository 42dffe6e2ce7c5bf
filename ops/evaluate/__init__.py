"""How good the lists are, on any file of events: `refold evaluate`."""
