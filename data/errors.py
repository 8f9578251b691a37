"""What does preparation raise for a mistake that its user can mend?"""

from svilm_jax.errors import UserError


class PreparationError(UserError, ValueError):
    """A dataset that cannot be prepared as asked; the message names file, line and field, and what to do."""
