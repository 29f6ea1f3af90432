"""Infrastructure floor: adapters to what lies outside, and where it runs. Imports `models` only."""
