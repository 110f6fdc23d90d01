"""Figures of results in the house style, by matplotlib (the extra `plots`). Reads no results."""
