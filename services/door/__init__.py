"""What stands around every endpoint: keys, limits, forms, problems, and the document that tells of them."""
