"""The error for what the user can fix."""


class UserError(Exception):
    """A mistake in the configuration, the input or the machine; programs print its message without a traceback.

    The message says what is wrong, where (file, row, key), and what to do about it.
    """
