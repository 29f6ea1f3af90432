"""The pure core: what is true about events, sessions and intents, and what is learned about them."""
