"""Our machine against Spike: random and chosen programs, compared instruction by instruction.

`python -m tests.differential --seed N --instructions 200000` makes a long run.
"""
