"""Run configurations: what users may write in TOML, how it is read, what is said when it is wrong."""

from coordinator.config.errors import ConfigError, Problem
from coordinator.config.load import Config, Overrides, find, for_program, load, loads
from coordinator.config.model import Run, Vm, json_schema

__all__ = [
    "Config",
    "ConfigError",
    "Overrides",
    "Problem",
    "Run",
    "Vm",
    "find",
    "for_program",
    "json_schema",
    "load",
    "loads",
]
