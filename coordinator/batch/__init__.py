"""Batches: one file that says which runs, a plan of points, workers that run them here or on a cluster.

`file` is what users may write, `sweep` makes the points, `plan` gives each its id, `task` runs one, `pool` and
`cluster` say where, `drive` decides what runs next and what is kept (`coordinator.results`).
"""
