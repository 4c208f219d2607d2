"""DiT: transformers in latent space."""
