"""The blog post's examples, computed and printed."""
