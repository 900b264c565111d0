"""Small fully convolutional networks for road scenes: train, evaluate, infer."""
