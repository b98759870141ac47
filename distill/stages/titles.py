"""What the stages are called where people follow a run."""

TITLES = {
    "prepare": "Prepare the sounds",
    "configure": "Configure",
    "train_vqvae": "Train the VQ-VAE",
    "train_prior": "Train the prior",
    "check_memorization": "Check for memorization",
    "train_vocoder": "Train the vocoder",
    "assemble": "Assemble the model",
}
