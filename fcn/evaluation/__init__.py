"""Predictions and ground truth -> scores."""
