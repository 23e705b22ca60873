"""Training: a new head for a transformers model from labeled images, and its last blocks."""
