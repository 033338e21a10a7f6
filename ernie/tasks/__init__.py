"""Fine-tuning tasks: what each of them is in training, evaluation and prediction. `table` names them all."""
