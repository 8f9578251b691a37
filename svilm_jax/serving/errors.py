"""Errors of the serving layer whose messages are shown to the visitor."""

from svilm_jax.errors import UserError


class BusyError(Exception):
    """More is asked for at once than this machine should do; whoever asks again later may get it."""


class ServingError(UserError, ValueError):
    """What cannot be served; the message is for whoever typed or uploaded it, and says what to do."""
