"""Data sets, batches and the thread that keeps them ready. numpy in, numpy out; nothing here needs paddle."""
