"""Litmus tests in the RISC-V `.litmus` format: reading, printing, hashing, conditions and logs.

Knows the text and what it names; which outcomes a memory model allows is `coordinator.check`'s to say.
"""
