"""Typed item associations: built from history, live on top of it, asked by a request."""
