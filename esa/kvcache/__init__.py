"""KV caches in fewer bytes: HACK's two bits with products of codes, and ZeroC's rotated and cut heads. Needs torch.

`quantise.py` codes by partitions; `product.py` matrix products of codes, without dequantising; `cache.py` the cache of
a head, in both published layouts, `fused.py` attention over its bytes in one pass; `sizes.py` the bytes of a request,
without torch; `rotation.py`, `keep.py` ZeroC; `model.py` a small transformer, in which `decoding.py` has HACK's caches
and `folding.py` ZeroC's rotations.
"""
