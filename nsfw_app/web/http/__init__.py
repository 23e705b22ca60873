"""HTTP: bodies, forms, limits, errors, and the way from a request to the engine."""
