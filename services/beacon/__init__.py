"""Beacon: the script that a shop's pages load, and the files around it."""
