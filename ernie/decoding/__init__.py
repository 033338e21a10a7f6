"""From scores to labels, chunks and answers. numpy in, numpy out; never loads paddle."""
