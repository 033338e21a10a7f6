"""Prediction with a fine-tuned checkpoint, and its export: tasks, engines, streams."""
