"""The version of each stage's code: raised when changed code gives other outputs, so that the stage runs again."""

CODE_VERSIONS = {
    "prepare": 3,
    "configure": 7,
    "train_vqvae": 9,
    "train_prior": 9,
    "check_memorization": 14,
    "train_vocoder": 7,
    "register": 2,
}
