"""Being told to end while something is cleaned up."""

from __future__ import annotations

import signal

import pytest

from esa.signals import ending_interrupts, uninterrupted


def test_an_interrupt_that_comes_while_cleaning_up_is_heard_afterwards() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), ending_interrupts():  # noqa: PT012
        with uninterrupted(), uninterrupted():
            signal.raise_signal(signal.SIGTERM)
            done.append("cleaned up")
        done.append("went on")
    assert done == ["cleaned up"]


def test_a_second_interrupt_does_not_cut_cleaning_up_short() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt, match="the first"), ending_interrupts():  # noqa: PT012
        try:
            raise KeyboardInterrupt("the first")
        finally:
            with uninterrupted():
                signal.raise_signal(signal.SIGINT)
            done.append("cleaned up")
    assert done == ["cleaned up"]
