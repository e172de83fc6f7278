"""From rows to a trained forward map, and Keras model files in and out."""
