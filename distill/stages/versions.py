"""The version of each stage's code: raised when changed code gives other outputs, so that the stage runs again."""

CODE_VERSIONS = {
    "prepare": 2,
    "configure": 4,
    "train_vqvae": 6,
    "train_prior": 6,
    "check_memorization": 8,
    "train_vocoder": 3,
    "register": 1,
}
