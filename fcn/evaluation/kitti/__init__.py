"""The KITTI Road benchmark: measures, bird's-eye view, submission."""
