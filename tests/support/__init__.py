"""Helpers of all tests: a fake classifier, servers, browsers, sample files and records."""
