"""What is measured on a trained or fresh network beside its score."""
