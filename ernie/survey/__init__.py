"""One pass over a training file before anything is trained: what it is for, its labels, how its texts are written."""
