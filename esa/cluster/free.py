"""GPUs that can be had, by host: counted, taken and given back without a look at the others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

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
        for _ in range(min(count, self.counts[host])):
            rest = bits & (bits - 1)
            found.append(Gpu(host, (bits ^ rest).bit_length() - 1))
            bits = rest
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
        bits, counts = self.bits, self.counts
        for host, gpu in gpus:
            bit = 1 << gpu
            if not bits[host] & bit:
                raise KeyError(Gpu(host, gpu))
            bits[host] ^= bit
            counts[host] -= 1
            self.total -= 1

    def took(self, gpus: Sequence[Gpu]) -> bool:
        """Take them if all are free, and none is named twice; else take none, and say False."""
        bits, counts = self.bits, self.counts
        taken = 0
        for host, gpu in gpus:
            if not (0 <= host < len(bits) and gpu >= 0 and bits[host] >> gpu & 1):
                break
            bits[host] ^= 1 << gpu
            counts[host] -= 1
            taken += 1
        self.total -= taken
        if taken < len(gpus):
            self.give(gpus[:taken])
            return False
        return True

    def give(self, gpus: Iterable[Gpu]) -> None:
        """These are free again; KeyError for one that is so already."""
        bits, counts = self.bits, self.counts
        for host, gpu in gpus:
            bit = 1 << gpu
            if bits[host] & bit:
                raise KeyError(Gpu(host, gpu))
            bits[host] |= bit
            counts[host] += 1
            self.total += 1
