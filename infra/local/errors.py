"""What can stop the one-machine stack: always one sentence that says what to do."""


class StackError(Exception):
    """The stack cannot start or go on; the message is for a person."""


class Stopped(Exception):
    """Somebody asked it to stop while it was starting."""
