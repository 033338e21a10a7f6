"""Pre-training: from sample files to a model that the fine-tuning programs take."""
