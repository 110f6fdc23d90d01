"""The coordinator floor: virtual machines, ONE_REG, the control channel, configs, results and the CLI."""
