"""Measurements of hartstorm itself, each beside what it can be compared with in the same run.

Every figure is a median of interleaved repetitions, because machines are shared and clocks vary.
"""
