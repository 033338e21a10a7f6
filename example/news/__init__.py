"""Chinese news: raw text to a training and a validation file, and a training from one configuration file."""
