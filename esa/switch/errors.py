"""What the switch refuses, and how it says so."""


class UnsupportedError(ValueError):
    """The program asks for something this target does not do; the message names it and the place in the program."""


class TableError(KeyError):
    """A table operation that cannot be carried out; the message names the table and the reason."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class DuplicateEntry(TableError):  # noqa: N818 - named after the P4Runtime error codes
    """An entry with this match (and priority) is there already."""


class NoSuchEntry(TableError):  # noqa: N818
    """No entry has this match (and priority)."""


class TableFull(TableError):  # noqa: N818
    """The table holds as many entries as the program gives it."""


class EntryInUse(TableError):  # noqa: N818
    """A member or group of an action profile that an entry or a group refers to cannot go."""


class BadEntry(TableError):  # noqa: N818
    """The match, action or parameters do not fit the table, or the table may not be changed."""


class AssertionFailed(RuntimeError):  # noqa: N818
    """An assert() or assume() of the P4 program did not hold; BMv2 would have aborted."""
