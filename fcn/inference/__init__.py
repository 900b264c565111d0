"""Image -> class probabilities, labels and pictures at the image's own size."""
