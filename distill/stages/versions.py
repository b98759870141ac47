"""The version of each stage's code: raised when changed code gives other outputs, so that the stage runs again."""

CODE_VERSIONS = {
    "prepare": 5,
    "configure": 9,
    "train_vqvae": 10,
    "train_prior": 13,
    "check_memorization": 16,
    "train_vocoder": 7,
    "register": 2,
}
