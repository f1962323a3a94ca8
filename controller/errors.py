"""What can go wrong, each in one line that a person can act on."""


class BadInput(ValueError):  # noqa: N818 - reads as what it is
    """The request itself is wrong; nothing was sent to the switch."""


class SwitchError(RuntimeError):
    """The switch did not do what it was asked."""


class Unreachable(SwitchError):  # noqa: N818
    """No P4Runtime server answers at the address."""


class NotPrimary(SwitchError):  # noqa: N818
    """Another client holds the switch with a higher election id."""


class Refused(SwitchError):  # noqa: N818
    """The switch refused an entry or does not support the request."""
