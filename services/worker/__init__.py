"""Worker: duties, each a fold or a delivery that follows the log."""
