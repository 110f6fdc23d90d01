"""The subcommands of `hartstorm`, one module each; thin: they parse options, call, print and set the exit code."""
