"""Authentication: callers, sign-in, OpenID Connect and request origins."""
