"""The report of a batch as one HTML page that needs nothing else. Computes nothing about the batch."""
