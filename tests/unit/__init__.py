"""Tests of modules and commands, without HTTP."""
