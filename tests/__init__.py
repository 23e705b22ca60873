"""Tests: `unit` without HTTP, `web` over HTTP, `browser` in Chromium, `support` for all."""
