"""A trained network -> a file for another runtime, proven to agree with it."""
