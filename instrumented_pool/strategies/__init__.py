"""Strategies for real resources. Each module imports its driver itself, so import the one you want by its name."""
