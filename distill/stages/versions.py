"""The version of each stage's code: raised when changed code gives other outputs, so that the stage runs again."""

CODE_VERSIONS = {
    "prepare": 3,
    "configure": 6,
    "train_vqvae": 9,
    "train_prior": 8,
    "check_memorization": 13,
    "train_vocoder": 6,
    "register": 2,
}
