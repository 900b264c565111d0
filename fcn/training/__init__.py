"""Batches -> a trained run."""
