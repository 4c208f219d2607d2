"""λ applied in the programs where images are made."""
