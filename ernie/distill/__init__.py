"""What small models are taught with: words of texts, augmented texts, answers of a teacher."""
