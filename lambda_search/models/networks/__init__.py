"""Network architectures that this project defines itself."""
