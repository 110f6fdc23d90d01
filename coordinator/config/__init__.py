"""Run configurations: what users may write in TOML, how it is read, what is said when it is wrong."""

from coordinator.config.errors import ConfigError, Problem
from coordinator.config.load import Config, Overrides, for_program, load, loads, open_run
from coordinator.config.model import Run, Vm, json_schema

__all__ = [
    "Config",
    "ConfigError",
    "Overrides",
    "Problem",
    "Run",
    "Vm",
    "for_program",
    "json_schema",
    "load",
    "loads",
    "open_run",
]
