"""Errors of the serving layer whose messages are shown to the visitor."""

from svilm_jax.errors import UserError


class BusyError(Exception):
    """Too many concurrent requests for this machine; a later retry may succeed."""


class ServingError(UserError, ValueError):
    """An invalid request; the message is for the visitor and says what to do."""
