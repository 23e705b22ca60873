"""Owns sets of many images: labeled sets to evaluate models on, sources and their scans."""
