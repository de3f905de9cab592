"""Names of the metrics that a training logs."""

TRAIN_LOSS = "train_loss"
VALIDATION_ACCURACY = "validation_accuracy"  # ranks runs
VALIDATION_LOSS = "validation_loss"  # selects a run's checkpoint: 5,000 images separate epochs of equal accuracy
LEARNING_RATE = "learning_rate"
GRADIENT_NORM = "gradient_norm"
