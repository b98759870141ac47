"""The version of each stage's code: raised when changed code gives other outputs, so that the stage runs again."""

CODE_VERSIONS = {
    "prepare": 1,
    "configure": 2,
    "train_vqvae": 1,
    "train_prior": 1,
    "check_memorization": 1,
    "register": 1,
}
