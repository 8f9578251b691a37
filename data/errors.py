"""What does preparation raise for a mistake that its user can mend?"""


class PreparationError(ValueError):
    """A dataset that cannot be prepared as asked; the message names file, line and field, and what to do."""
