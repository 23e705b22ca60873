"""ASGI middleware that every request passes before routing."""
