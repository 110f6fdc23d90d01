"""What results of batches say about scaling: series over harts, and the models fitted to them. Draws nothing."""
