"""From what ends a command to its exit status and its line on standard error: for every command, in one place.

    def main() -> int:
        return exit_status("esa-switch", serve, options)    # one call, for a command of its own parser
    app = typer.Typer(cls=commands("esa"))                  # or all commands of a typer application

    with interruptible("what was measured is kept"):        # in a command whose work is kept
        measure()

An `EsaError` is one line for a person and knows its status; Ctrl-C is 130. Anything else is a bug and keeps its
traceback.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any

from esa.errors import BadInput, EsaError
from esa.signals import ending_interrupts

INTERRUPTED = 130

# A command's process ends: nobody looks once more for garbage among the modules of NumPy, Numba and gRPC, which takes a
# fifth of a second of a core, and most of a second where PyTorch is.
atexit.register(gc.freeze)


def tell(program: str, ended_by: BaseException) -> int:
    """Say on standard error what ended a command, in its words; return the exit status. Others are raised again.

    A KeyboardInterrupt that has a text says what became of what was under way.
    """
    if isinstance(ended_by, KeyboardInterrupt):
        status = INTERRUPTED
    elif isinstance(ended_by, EsaError):
        status = ended_by.status
    else:
        raise ended_by
    if text := str(ended_by):
        print(f"{program}: {text}", file=sys.stderr)
    return status


@contextlib.contextmanager
def interruptible(kept: str) -> Iterator[None]:
    """In the block Ctrl-C, SIGTERM and a closed terminal interrupt the command; `kept`: what becomes of its work."""
    try:
        with ending_interrupts():
            yield
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt(str(interrupt) or f"interrupted; {kept}") from None


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """What the block calls a ValueError is bad input, in the same words: for the look-up of what somebody named."""
    try:
        yield
    except ValueError as error:
        raise BadInput(str(error)) from None


def exit_status(program: str, command: Callable[..., int | None], *arguments: Any, **options: Any) -> int:
    """Call a command; its status is what it returns, 0 for None, or follows from what ended it."""
    try:
        return command(*arguments, **options) or 0
    except (EsaError, KeyboardInterrupt) as error:
        return tell(program, error)


def commands(program: str) -> Any:
    """The class of a typer application whose commands all end so; wrong options are one line, too, and 2."""
    import typer
    from typer.core import TyperGroup

    # Every version of typer has BadParameter; what it descends from moved between them.
    usage_problem: Any = typer.BadParameter.__mro__[2]

    class Commands(TyperGroup):
        def main(self, *arguments: Any, standalone_mode: bool = True, **options: Any) -> Any:
            try:
                options["standalone_mode"] = False
                status = super().main(*arguments, **options)
            except usage_problem as error:
                text = error.format_message()
                if text and "\n" not in text:
                    print(f"{program}: {text}", file=sys.stderr)
                else:  # no command was given: its help
                    error.show()
                status = BadInput.status
            except typer.Abort:
                status = INTERRUPTED
            status = status if isinstance(status, int) else 0
            return sys.exit(status) if standalone_mode else status

        def invoke(self, ctx: Any) -> Any:
            try:
                return super().invoke(ctx)
            except (EsaError, KeyboardInterrupt) as error:
                raise typer.Exit(tell(program, error)) from None

    return Commands


def with_default(default: str) -> Any:
    """The class of a typer group one of whose commands need not be named: what names no other is for it."""
    from typer.core import TyperGroup

    class WithDefault(TyperGroup):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
                args = [default, *args]
            return super().parse_args(ctx, args)

    return WithDefault
