"""What the performance pages quote: one module a measurement, each run by `refold bench NAME`."""
