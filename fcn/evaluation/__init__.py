"""Predictions and truth -> figures."""
