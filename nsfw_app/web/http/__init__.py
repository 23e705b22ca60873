"""HTTP: protocol, bodies, forms, limits, error responses, and access to the engine."""
