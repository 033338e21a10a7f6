"""ERNIE on the static graph: model, tokenizers, readers, tasks and checkpoint formats."""
