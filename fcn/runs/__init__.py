"""One folder a run: what lies in it, checkpoints, locks, environment."""
