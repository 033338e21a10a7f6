"""From raw text to sample files: documents -> sentences -> words -> tokens with units -> samples -> shards."""
