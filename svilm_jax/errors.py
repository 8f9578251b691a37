"""Base class of the errors that a user can act on."""


class UserError(Exception):
    """A mistake in what the user gave: a path, an option, a file.

    The message alone is all that a user needs: it names the thing, what was expected and what to do. The command line
    prints it without a traceback and exits with status 2, so an error class of this package joins that treatment by
    deriving from this one, in addition to the built-in class that callers may catch.
    """
