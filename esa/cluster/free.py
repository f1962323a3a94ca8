"""GPUs that can be had, by host: counted, taken and given back without a look at the others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from esa.cluster.inventory import Cluster, Gpu


class Free(Collection[Gpu]):
    """Free GPUs; `counts`: how many each host has of them.

    Kept as a word of bits for each host, so that a copy is two short lists, whatever the number of GPUs.
    """

    __slots__ = ("bits", "counts", "total")

    def __init__(self, bits: list[int], counts: list[int], total: int) -> None:
        self.bits = bits
        self.counts = counts
        self.total = total

    @classmethod
    def of(cls, cluster: Cluster) -> Free:
        """All GPUs of hosts that are up."""
        counts = [0 if number in cluster.down else host.gpus for number, host in enumerate(cluster.hosts)]
        return cls([(1 << count) - 1 for count in counts], counts, sum(counts))

    @classmethod
    def only(cls, cluster: Cluster, gpus: Iterable[Gpu]) -> Free:
        """These GPUs of a cluster."""
        none = [0] * len(cluster.hosts)
        free = cls(none, list(none), 0)
        free.give(gpus)
        return free

    def copy(self) -> Free:
        return Free(self.bits[:], self.counts[:], self.total)

    def __len__(self) -> int:
        return self.total

    def __contains__(self, gpu: object) -> bool:
        if not isinstance(gpu, Gpu):
            return False
        return 0 <= gpu.host < len(self.bits) and gpu.gpu >= 0 and bool(self.bits[gpu.host] >> gpu.gpu & 1)

    def __iter__(self) -> Iterator[Gpu]:
        for host, bits in enumerate(self.bits):
            for gpu in range(bits.bit_length()):
                if bits >> gpu & 1:
                    yield Gpu(host, gpu)

    def first(self, host: int, count: int) -> list[Gpu]:
        """The first free GPUs of a host, at most `count`."""
        found: list[Gpu] = []
        bits = self.bits[host]
        while bits and len(found) < count:
            lowest = bits & -bits
            found.append(Gpu(host, lowest.bit_length() - 1))
            bits ^= lowest
        return found

    def open(self, host: int, gpus: int) -> None:
        """A host can be had, all of it."""
        self.bits[host], self.counts[host] = (1 << gpus) - 1, gpus
        self.total += gpus

    def close(self, host: int) -> None:
        """It cannot, any more."""
        self.total -= self.counts[host]
        self.bits[host] = self.counts[host] = 0

    def take(self, gpus: Iterable[Gpu]) -> None:
        """These are not free any more; KeyError for one that is not now."""
        for gpu in gpus:
            host, bit = gpu.host, 1 << gpu.gpu
            if not self.bits[host] & bit:
                raise KeyError(gpu)
            self.bits[host] ^= bit
            self.counts[host] -= 1
            self.total -= 1

    def give(self, gpus: Iterable[Gpu]) -> None:
        """These are free again; KeyError for one that is so already."""
        for gpu in gpus:
            host, bit = gpu.host, 1 << gpu.gpu
            if self.bits[host] & bit:
                raise KeyError(gpu)
            self.bits[host] |= bit
            self.counts[host] += 1
            self.total += 1
