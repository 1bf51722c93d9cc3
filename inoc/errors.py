"""Errors that end a command with one clear sentence.

Every error a user can cause is an `InocError`: its message says what failed and where, and ends with
`Fix: ...` where there is something to do.
The command line prints that sentence without a traceback and exits with `exit_code`.
"""


class InocError(Exception):
    """Base of all errors inoc raises on purpose."""

    exit_code = 1


class BadInput(InocError):
    """A file, option, configuration or value that cannot be used as it is."""

    exit_code = 2


class BrokenStore(BadInput):
    """A store that is damaged, half-written or of another schema; names the group and variable."""


class BackendUnavailable(BadInput):
    """A backend that cannot work here: extra not installed, server dead, key missing, device absent."""


class BackendRejected(BadInput):
    """A backend refused this request for good: unknown model, prompt too long, feature known to be broken."""


class BadResult(InocError):
    """A backend answered with something that cannot be right: wrong length, wrong token ids, not finite, positive."""


class IncompleteStore(InocError):
    """The store lacks something this command needs; says which command makes it."""

    exit_code = 3


class OtherSettings(InocError):
    """The store was made with other settings; the message is a field-by-field difference."""

    exit_code = 4
