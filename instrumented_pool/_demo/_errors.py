class CannotRun(Exception):
    """The demo cannot run as it was asked to. The text is one line, for the user, without credentials."""
