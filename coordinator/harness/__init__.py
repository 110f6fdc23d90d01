"""The litmus harness: runs litmus tests on the harts of a VM, many instances of each at once, and counts what they do.

`program` makes one guest image of many tests, `session` runs it, `outcomes` reads what was counted, `campaign` runs
tests until it has seen enough of each and judges them.
"""
