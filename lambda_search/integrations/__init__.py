"""λ where images are made: in other people's libraries."""
