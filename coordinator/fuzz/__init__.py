"""Random concurrent programs: made from a seed, run on real harts, judged by the model, shrunk when they fail."""
