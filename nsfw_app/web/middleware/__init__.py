"""ASGI middleware: every request passes it before a route is looked up."""
