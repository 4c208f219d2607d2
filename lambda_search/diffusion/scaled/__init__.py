"""diffusers' schedulers with ε divided by λ(i), whatever their network predicts."""
