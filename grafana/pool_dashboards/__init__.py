"""Builds the dashboards, whose JSON is committed: `make dashboards`."""
