"""Who operates: the `refold` command and what stands behind it."""
