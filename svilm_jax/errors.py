"""Base class of the errors that a user can act on; exit statuses and stop signals that several commands share."""

import signal

EXIT_DIVERGED = 65  # a loss or gradient that is not finite (EX_DATAERR of sysexits.h)
EXIT_STOPPED = 75  # stopped by a signal after saving; the same command resumes (EX_TEMPFAIL)
EXIT_INTERRUPTED = 130  # Ctrl-C: 128 + SIGINT, as shells report it

# Ask a run to save and end: schedulers, wrappers and terminals send one or several of them.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class UserError(Exception):
    """A mistake in what the user gave: a path, an option, a file.

    The message alone is all that a user needs: it names the thing, what was expected and what to do. The command line
    prints it without a traceback and exits with status 2, so an error class of this package joins that treatment by
    deriving from this one, in addition to the built-in class that callers may catch.
    """

    exit_status = 2  # of a command that ends with this error
