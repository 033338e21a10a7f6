"""Models, learners, hooks, metrics, checkpoints."""
