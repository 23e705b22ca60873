"""REST API, mounted at /v1: one module per endpoint, assembled in `v1`."""
