"""The one exception for wrong input."""


class InputError(Exception):
    """The user's input is wrong. The message says what, what was found, what was expected, and the command that fixes it."""
