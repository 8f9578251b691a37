"""What can go wrong between a visitor and the model, told to the visitor?"""


class ServingError(ValueError):
    """What cannot be served; the message is for whoever typed or uploaded it, and says what to do."""
