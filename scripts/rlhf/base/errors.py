"""The error for what the user can mend."""


class UserError(Exception):
    """Something wrong in the configuration, the input or the machine: a message to read, not a traceback.

    The message says what is wrong, where (file, row, key), and what to do about it.
    """
