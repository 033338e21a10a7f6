"""Names in the folder of an exported model, for those who know nothing else of it."""

INFERENCE = 'inference.json'
VECTORS = 'vectors'  # what it has of an export that gives vectors
