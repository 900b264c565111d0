"""Image -> class probabilities at its own size."""
