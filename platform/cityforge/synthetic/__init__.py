"""Procedural footage of one street crossing, seen by three cameras, with exact labels."""
