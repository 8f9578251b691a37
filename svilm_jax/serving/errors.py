"""What can go wrong between a visitor and the model, told to the visitor?"""


class BusyError(Exception):
    """More is asked for at once than this machine should do; whoever asks again later may get it."""


class ServingError(ValueError):
    """What cannot be served; the message is for whoever typed or uploaded it, and says what to do."""
