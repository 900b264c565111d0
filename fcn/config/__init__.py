"""Every setting of a run, and YAML text <-> settings."""
