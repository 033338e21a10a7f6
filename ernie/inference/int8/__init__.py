"""Exports in int8: rows to calibrate with, scores of engines, the two ways to quantize, and the report of all of it."""
