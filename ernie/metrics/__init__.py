"""Metrics of the tasks, their printed lines, reports and pictures. Pure functions on numpy arrays."""
