"""Memory models and what is checked against them: litmus tests' outcomes and recorded executions; linearizability.

`execution` says what an execution is, `rvwmo` and `models` what is allowed. `enumerator` finds all outcomes of a litmus
test, `checker` judges an execution whose reads-from and coherence are known, `search` one of which only values are.
`linearizability` judges histories of operations on objects (`history`), whatever the memory model.
"""
