"""Names in the folder of an exported model, for those who know nothing else of it."""

INFERENCE = 'inference.json'
FUSED = 'fused'  # form of an export that our own kernels read
VECTORS = 'vectors'  # what it has of an export that gives vectors
