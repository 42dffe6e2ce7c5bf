"""Training models from the log or a file: `refold train`."""
