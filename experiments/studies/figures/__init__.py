"""The evaluation in virtual time: one small file per figure: `esa figures`.

`catalogue.py` lists them. A figure's file says what is simulated and what to make of it; `base.py` is the setting that
all vary, `statistics.py` the intervals, `draw.py` the look, `report.py` the files. Simulations are kept as soon as they
are finished, so figures share them and an interrupted `esa figures` goes on where it was.
"""
