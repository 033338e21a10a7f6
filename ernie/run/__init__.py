"""What all programs need of a run: source of the model, session, precision, memory, evaluation, output files."""
