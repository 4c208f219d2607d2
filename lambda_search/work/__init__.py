"""What a worker does: no Ray and no SQL."""
