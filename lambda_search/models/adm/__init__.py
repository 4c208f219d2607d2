"""ADM (guided-diffusion, ADM-ES): U-Net, classifier, flags."""
