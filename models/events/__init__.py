"""Events: rules, identity, consent, encoding, and other people's events read as ours."""
