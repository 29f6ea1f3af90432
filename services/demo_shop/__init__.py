"""Demo shop: a partner of Attune's, which knows nothing of it but the public API."""
