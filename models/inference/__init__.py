"""What a session is about and what comes next: labels, examples and the two models that learn from them."""
