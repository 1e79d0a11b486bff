"""Sweeps: many points of a search space, scored on validation images only, by several processes on one journal.

`space` says what is tried, `folds` and `job` what all points share, `trial` scores one point, `journal` is the list
that the processes share, `worker` is one of them, `sweep` starts them and picks the best.
"""
