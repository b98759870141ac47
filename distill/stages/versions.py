"""The version of each stage's code: raised when changed code gives other outputs, so that the stage runs again."""

CODE_VERSIONS = {
    "prepare": 2,
    "configure": 5,
    "train_vqvae": 7,
    "train_prior": 7,
    "check_memorization": 11,
    "train_vocoder": 4,
    "register": 1,
}
