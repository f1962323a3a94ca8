"""A coverage-guided fuzzer for the switch's program, the worker, the PS and a small system of all of them.

`make fuzz SECONDS=300 SEED=1`; `tests/fuzz/corpus/` is what it found worth keeping, replayed by `test_corpus.py`.

Why not atheris: it watches Python, so everything would have to run uncompiled, a hundredth as fast, and it is there for
some Pythons and processors only. Here the branches of the state machines and of the switch's generated program are
counted by statements put into their source (`coverage.py`), and the result is compiled like the original, but with
bounds checks.
"""
