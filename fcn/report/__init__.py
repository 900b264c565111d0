"""A run -> figures and pictures to look at."""
