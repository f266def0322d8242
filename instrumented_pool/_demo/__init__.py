"""The demo: a real pool on a real server, through good times and bad. Needs the extra `demo`; see `_run.py`."""
