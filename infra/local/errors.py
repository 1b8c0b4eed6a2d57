"""What can stop the one-machine stack: always one sentence that says what to do."""


class StackError(Exception):
    """The stack cannot start or go on; the message is for a person."""
