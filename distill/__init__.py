"""Programs that fine-tune an encoder with propeller: templates to change."""
