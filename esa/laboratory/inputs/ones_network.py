"""Jobs such as those of ONES' artefact over a network: the question in its models, the answer in theirs.

    times = OnesNetworkTimes(NetworkTimes(Network("esa"), racks))

Computing is the artefact's own; gradients go as those of the model of a kind's family. Where a kind has others (bert is
the smaller one there, resnet18 is none of our models, googlenet has more) computing is scaled to the model's gradients
for the question, and the answer scaled back, as the packet simulator's episodes are. The ring of `ones_trace.py` is
left out here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from esa.cluster.times import Answer, Asked, Times
from esa.errors import BadInput
from esa.laboratory.inputs.ones_trace import KINDS, OnesKind
from esa.network_times.training import bytes_of

# Whose layers a kind's gradients are of, where it is not called so.
MODEL_OF: Mapping[str, str] = {
    "bert-cola": "bert",
    "bert-mrpc": "bert",
    "bert-sst2": "bert",
    "resnet18-cifar": "resnet50",
    "googlenet-cifar": "googlenet",
    "vgg16-cifar": "vgg16",
}
_KINDS = {kind.name: kind for kind in KINDS}


class OnesNetworkTimes:
    """network: the answers for models."""

    isolated = False

    def __init__(self, network: Times) -> None:
        self._network = network

    def __call__(self, running: Sequence[Asked], /) -> Sequence[Answer]:
        kinds = [self._kind(asked) for asked in running]
        scales = [bytes_of(model_of(kind)) / kind.gradients for kind in kinds]
        answers = self._network([_as_model(*one) for one in zip(running, kinds, scales, strict=True)])
        return [
            answer._replace(
                iteration_s=answer.iteration_s / scale,
                exposed_s=answer.exposed_s / scale,
                server_bytes=round(answer.server_bytes / scale),
                error_s=answer.error_s / scale,
            )
            for answer, scale in zip(answers, scales, strict=True)
        ]

    @staticmethod
    def _kind(asked: Asked) -> OnesKind:
        if asked.model not in _KINDS:
            raise BadInput(f"kind '{asked.model}': no times; allowed: {', '.join(_KINDS)}")
        return _KINDS[asked.model]


def model_of(kind: OnesKind) -> str:
    """Whose gradients a kind's are like."""
    return MODEL_OF.get(kind.name, kind.name)


def _as_model(asked: Asked, kind: OnesKind, scale: float) -> Asked:
    computing_s = asked.local_batch * (asked.additions + 1) * kind.per_sample_s
    return asked._replace(model=model_of(kind), gpu_ns=round(computing_s * scale * 1e9) * asked.workers)
