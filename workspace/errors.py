"""The exception for invalid user input."""


class InputError(Exception):
    """The user's input is wrong. The message names the input, what was found and expected, and the command that fixes it."""
