"""Weight profiles that compete, their rewards, and what another policy would have earned."""
