"""What a job that trains says of itself, to schedulers that learn from it how far it is and how fast it gets on."""

from __future__ import annotations

from typing import NamedTuple


class Training(NamedTuple):
    """As of now, since it was submitted.

    epoch_samples: of an epoch, by which it reports
    epochs:        whole ones that it has been through
    samples:       that it has been through
    samples_per_s: at which it goes on on its GPUs; 0 if it has none
    first_loss:    after its first report
    loss:          now; accuracy: now, from 0 to 1; 0 where there is no such measure
    """

    epoch_samples: int
    epochs: int
    samples: float
    samples_per_s: float
    first_loss: float
    loss: float
    accuracy: float
