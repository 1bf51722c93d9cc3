"""Heuristics as functions of arrays, one family per module."""
