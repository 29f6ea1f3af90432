"""Pages of the console: each module says what its page shows, as values; how that looks is the templates' business."""
