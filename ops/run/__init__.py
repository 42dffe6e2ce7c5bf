"""Running: the processes of a worker, of `refold up`, and of the demo."""
